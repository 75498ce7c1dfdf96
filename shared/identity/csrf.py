"""CSRF protection by double-submit cookie, the same in the gateway and in each service.

The token is an HMAC of the session id. So nothing is stored, and a cookie that an attacker plants does not fit the
session.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from shared.problems import Problem

CSRF_COOKIE = "csrfToken"
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"  # media types of HTML forms
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
OPAQUE = ("", "null")  # Origin if a referrer policy hides it

Field = Callable[[], str]


class Csrf:
    """Create and check CSRF tokens; pages of `origins` and of the gateway itself may send forms."""

    def __init__(self, internal_token: str, public_url: str, origins: Iterable[str]) -> None:
        self._key = hmac.digest(internal_token.encode(), b"csrf", "sha256")
        parts = urlsplit(public_url.lower())
        self._origins = frozenset((f"{parts.scheme}://{parts.netloc}", *origins))

    def token(self, session_id: str) -> str:
        """Return the token of a session, which is the value of its cookie too."""
        return urlsafe_b64encode(hmac.digest(self._key, session_id.encode(), "sha256")).decode().rstrip("=")

    def check(self, environ: Mapping[str, Any], session_id: str, cookie: str, field: Field | None = None) -> None:
        """Raise CSRF_FAILED unless the request has the token of the session.

        Cookie and X-CSRF-Token must both be that token. Without the header, `field` returns the token of a form, and
        the Origin or Sec-Fetch-Site of the browser must be allowed too.
        """
        given = environ.get("HTTP_X_CSRF_TOKEN", "")
        if not given and field:
            if not self._is_ours(environ):
                raise Problem("CSRF_FAILED", "A form needs an Origin that is allowed, or Sec-Fetch-Site: same-origin.")
            given = field()
        expected = self.token(session_id)
        if not (_same(given, expected) and _same(cookie, expected)):
            where = f"X-CSRF-Token{' or the field _csrf' if field else ''}"
            raise Problem("CSRF_FAILED", f"Send {where} equal to the cookie {CSRF_COOKIE} of this session.")

    def refuse_foreign(self, environ: Mapping[str, Any]) -> None:
        """Raise CSRF_FAILED for a form whose Origin or Sec-Fetch-Site is another site; browsers send one of them."""
        told = environ.get("HTTP_ORIGIN") or environ.get("HTTP_SEC_FETCH_SITE")
        if told and not self._is_ours(environ):
            raise Problem("CSRF_FAILED", "The form was sent by a page whose origin is not allowed.")

    def _is_ours(self, environ: Mapping[str, Any]) -> bool:
        origin = environ.get("HTTP_ORIGIN", "")
        return origin in self._origins or (origin in OPAQUE and environ.get("HTTP_SEC_FETCH_SITE") == "same-origin")


def media_type(environ: Mapping[str, Any]) -> str:
    """Return the media type of the body, lower-case and without parameters."""
    return str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()


def _same(text: str, expected: str) -> bool:
    return hmac.compare_digest(text.encode("latin-1", "replace"), expected.encode())
