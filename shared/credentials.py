"""Find out who a request comes from: the same rule in the gateway and in every service."""

import hmac
from collections.abc import Callable
from typing import Protocol, TypeVar

from shared.problems import Problem

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
TOKEN_COOKIE = "authToken"
CSRF_COOKIE = "csrfToken"


class Identity(Protocol):
    """What is needed of a verified token's claims."""

    @property
    def user_id(self) -> str: ...

    @property
    def role(self) -> str: ...


Somebody = TypeVar("Somebody", bound=Identity)


def has_credentials(authorization: str, cookies: str) -> bool:
    """Tell whether the answer is for one person only."""
    return bool(authorization) or TOKEN_COOKIE in cookies


def identify(
    method: str, authorization: str, cookies: str, csrf_token: str, verify: Callable[[str], Somebody]
) -> Somebody | None:
    """Return who is asking, None for a stranger.

    The token is a bearer (RFC 6750, section 2.1) or the cookie `authToken`; both together must name one user.
    Raises UNAUTHORIZED, whatever `verify` raises, and CSRF_FAILED for an unsafe method with the cookie alone.
    """
    cookie = cookie_value(cookies, TOKEN_COOKIE) if TOKEN_COOKIE in cookies else ""
    if not authorization:
        if not cookie:
            return None
        somebody = verify(cookie)
        if method not in SAFE_METHODS:
            check_csrf(csrf_token, cookies)
        return somebody
    somebody = verify(bearer(authorization))
    if cookie and verify(cookie).user_id != somebody.user_id:
        raise Problem("UNAUTHORIZED", "The Authorization header and the cookie name different users.")
    return somebody


def check_csrf(token: str, cookies: str) -> None:
    """Raise CSRF_FAILED unless the header repeats the readable cookie, which another site cannot see."""
    expected = cookie_value(cookies, CSRF_COOKIE).encode("latin-1", "replace")
    if not expected or not hmac.compare_digest(token.encode("latin-1", "replace"), expected):
        raise Problem("CSRF_FAILED", f"Send X-CSRF-Token equal to the cookie {CSRF_COOKIE}.")


def cookie_value(cookies: str, name: str) -> str:
    """Return a cookie's value, or nothing; raise UNAUTHORIZED when it is there twice and differs."""
    values = set()
    for pair in cookies.split(";"):
        key, _, value = pair.partition("=")
        if key.strip() == name:
            values.add(value.strip().strip('"'))
    if len(values) > 1:
        raise Problem("UNAUTHORIZED", f"The cookie {name} is there twice.")
    return values.pop() if values else ""


def bearer(authorization: str) -> str:
    """Return the token of an Authorization header; raise UNAUTHORIZED for any other scheme."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem("UNAUTHORIZED", "The Authorization header must be a bearer token.")
    return token.strip()
