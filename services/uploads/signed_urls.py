"""Sign and verify URLs that give access to one private file until they expire.

Example: `?expires=1767225600&signature=<HMAC-SHA256 of upload id and expires, base64url>` at any path of the file.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared import clock
from shared.problems import Problem

LONGEST = timedelta(days=7)
_PURPOSE = b"postern uploads: signed links"
_is_moment = re.compile(r"[0-9]{1,12}").fullmatch


@dataclass(frozen=True, slots=True)
class SignedLink:
    """What a link carries, as the client sent it; `expires` in seconds since 1970."""

    expires: str
    signature: str

    @classmethod
    def of(cls, args: dict[str, Any]) -> "SignedLink | None":
        """Return the link in a query, None where neither half of one is there."""
        if "expires" not in args and "signature" not in args:
            return None
        return cls(args.get("expires", ""), args.get("signature", ""))


class Signer:
    """Signs with a key derived from INTERNAL_TOKEN, which all processes of the installation share."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), _PURPOSE, hashlib.sha256)

    def sign(self, upload_id: str, seconds: int) -> SignedLink:
        """Return a link that holds for so long."""
        expires = str(int(clock.now().timestamp()) + seconds)
        return SignedLink(expires, self._signature(upload_id, expires))

    def check(self, link: SignedLink, upload_id: str) -> None:
        """Raise LINK_EXPIRED unless the link was made for that upload and still holds."""
        expected = self._signature(upload_id, link.expires)
        genuine = hmac.compare_digest(expected.encode(), link.signature.encode())
        if not (upload_id and genuine and _is_moment(link.expires)):
            raise Problem("LINK_EXPIRED")
        if int(link.expires) <= clock.now().timestamp():
            raise Problem("LINK_EXPIRED")

    def _signature(self, upload_id: str, expires: str) -> str:
        mac = hmac.digest(self._key, f"{upload_id} {expires}".encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
