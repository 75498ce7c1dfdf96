"""Authenticate a request by bearer token or cookie: the same code in the gateway and in each service."""

from collections.abc import Callable, Mapping
from typing import Any

from shared.identity.claims import Claims
from shared.identity.csrf import CSRF_COOKIE, SAFE_METHODS, Csrf, Field
from shared.problems import Problem

TOKEN_COOKIE = "authToken"
CLEARED_TOKEN = f"{TOKEN_COOKIE}=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict"
MAX_TOKENS = 4  # cookies of that name that are verified, since each costs a signature check


def has_credentials(authorization: str, cookies: str) -> bool:
    """Return whether the request has a bearer token or cookie, valid or not: its response is private."""
    return bool(authorization) or TOKEN_COOKIE in cookies


def identify(
    environ: Mapping[str, Any], verify: Callable[[str], Claims], csrf: Csrf, field: Field | None = None
) -> tuple[Claims | None, Problem | None]:
    """Return the claims of the user, None for an anonymous client, and the problem of a cookie that is not accepted.

    The token is a bearer token (RFC 6750, section 2.1) or the cookie `authToken`; both together must name one user. A
    bad bearer token is refused. With a bad cookie the client is anonymous; routes that need a user raise the problem,
    which clears the cookie.

    Raises UNAUTHORIZED, the exceptions of `verify`, and CSRF_FAILED for an unsafe method with the cookie alone. `field`
    returns the CSRF token of a form; it is None if the route takes no form.
    """
    cookies = environ.get("HTTP_COOKIE", "")
    token = bearer(environ.get("HTTP_AUTHORIZATION", ""))
    somebody = verify(token) if token is not None else None
    of_cookie, refusal = _identify_cookie(cookies, verify) if TOKEN_COOKIE in cookies else (None, None)
    if somebody:
        if of_cookie and of_cookie.user_id != somebody.user_id:
            raise Problem("UNAUTHORIZED", "The Authorization header and the cookie name different users.")
        return somebody, None
    if of_cookie and environ["REQUEST_METHOD"] not in SAFE_METHODS:
        csrf.check(environ, of_cookie.session_id, csrf_cookie(environ), field)
    return of_cookie, refusal


def _identify_cookie(cookies: str, verify: Callable[[str], Claims]) -> tuple[Claims | None, Problem | None]:
    """Return the claims of the first valid cookie, otherwise a problem; other applications may set cookies too."""
    found: Claims | None = None
    refusal: Problem | None = None
    for token in _cookie_values(cookies, TOKEN_COOKIE)[:MAX_TOKENS]:
        try:
            somebody = verify(token)
        except Problem as problem:
            if problem.status != 401:
                raise
            refusal = refusal or problem
            continue
        if found and found.user_id != somebody.user_id:
            raise Problem("UNAUTHORIZED", f"Two cookies {TOKEN_COOKIE} name different users.")
        found = found or somebody
    if found or not refusal:
        return found, None
    refusal.headers["Set-Cookie"] = CLEARED_TOKEN
    return None, refusal


def csrf_cookie(environ: Mapping[str, Any]) -> str:
    return cookie_value(environ.get("HTTP_COOKIE", ""), CSRF_COOKIE)


def cookie_value(cookies: str, name: str) -> str:
    """Return a cookie's value, empty if missing; raise UNAUTHORIZED if it has two different values."""
    values = _cookie_values(cookies, name)
    if len(values) > 1:
        raise Problem("UNAUTHORIZED", f"The cookie {name} is there twice.")
    return values[0] if values else ""


def _cookie_values(cookies: str, name: str) -> list[str]:
    """Return the distinct, non-empty values of a cookie, in order."""
    values: dict[str, None] = {}
    for pair in cookies.split(";"):
        key, _, value = pair.partition("=")
        if key.strip(" \t") == name:
            values[value.strip(" \t").strip('"')] = None
    return [value for value in values if value]


def bearer(authorization: str) -> str | None:
    """Return the bearer token of an Authorization header, None for any other scheme; raise UNAUTHORIZED without one."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return None
    token = token.strip(" \t")
    if not token:
        raise Problem("UNAUTHORIZED", "The Authorization header has no token.")
    return token
