"""Find out who a request comes from: the same rule in the gateway and in every service."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from shared.csrf import CSRF_COOKIE, SAFE_METHODS, Csrf, Field
from shared.problems import Problem

TOKEN_COOKIE = "authToken"


class Identity(Protocol):
    """What is needed of a verified token's claims."""

    @property
    def user_id(self) -> str: ...

    @property
    def role(self) -> str: ...

    @property
    def session_id(self) -> str: ...


Somebody = TypeVar("Somebody", bound=Identity)


def has_credentials(authorization: str, cookies: str) -> bool:
    """Tell whether the answer is for one person only."""
    return bool(authorization) or TOKEN_COOKIE in cookies


def identify(
    environ: Mapping[str, Any], verify: Callable[[str], Somebody], csrf: Csrf, field: Field | None = None
) -> Somebody | None:
    """Return who is asking, None for a stranger.

    The token is a bearer (RFC 6750, section 2.1) or the cookie `authToken`; both together must name one user.
    Raises UNAUTHORIZED, whatever `verify` raises, and CSRF_FAILED for an unsafe method with the cookie alone,
    where `field` returns the CSRF token of a form; None where no form is taken.
    """
    authorization, cookies = environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", "")
    cookie = cookie_value(cookies, TOKEN_COOKIE) if TOKEN_COOKIE in cookies else ""
    if not authorization:
        if not cookie:
            return None
        somebody = verify(cookie)
        if environ["REQUEST_METHOD"] not in SAFE_METHODS:
            csrf.check(environ, somebody.session_id, csrf_cookie(environ), field)
        return somebody
    somebody = verify(bearer(authorization))
    if cookie and verify(cookie).user_id != somebody.user_id:
        raise Problem("UNAUTHORIZED", "The Authorization header and the cookie name different users.")
    return somebody


def csrf_cookie(environ: Mapping[str, Any]) -> str:
    return cookie_value(environ.get("HTTP_COOKIE", ""), CSRF_COOKIE)


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
