"""Tell requests of our own pages from cross-site requests (CSRF).

Gateway and services check alike. The token is a keyed function of the session, so that nothing is stored, and a
cookie that somebody planted is worth nothing without the session that it was made for.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from shared.problems import Problem

CSRF_COOKIE = "csrfToken"
FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"  # what HTML forms send
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
OPAQUE = ("", "null")  # what Origin says where a referrer policy hides it

Field = Callable[[], str]


class Csrf:
    """Make and check the tokens; pages of `origins` and of the gateway itself may send forms."""

    def __init__(self, internal_token: str, public_url: str, origins: Iterable[str]) -> None:
        self._key = hmac.digest(internal_token.encode(), b"csrf", "sha256")
        parts = urlsplit(public_url.lower())
        self._origins = frozenset((f"{parts.scheme}://{parts.netloc}", *origins))

    def token(self, session_id: str) -> str:
        """Return the token of a session, which is its readable cookie too."""
        return urlsafe_b64encode(hmac.digest(self._key, session_id.encode(), "sha256")).decode().rstrip("=")

    def check(self, environ: Mapping[str, Any], session_id: str, cookie: str, field: Field | None = None) -> None:
        """Raise CSRF_FAILED unless a page of ours sent the unsafe request.

        It proves that by X-CSRF-Token, equal to the cookie and made for the session, or, where `field` reads the
        token out of a form, by that and the origin that the browser names.
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
        """Raise CSRF_FAILED for a form that a browser says is another site's; who names no origin is no browser."""
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
