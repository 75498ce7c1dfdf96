"""Authenticate a request by bearer token or cookie: the same rule in the gateway and in every service."""

from collections.abc import Callable, Mapping
from typing import Any

from shared.identity.claims import Claims
from shared.identity.csrf import CSRF_COOKIE, SAFE_METHODS, Csrf, Field
from shared.problems import Problem

TOKEN_COOKIE = "authToken"
CLEARED_TOKEN = f"{TOKEN_COOKIE}=; Max-Age=0; Path=/; HttpOnly; Secure; SameSite=Strict"
MAX_TOKENS = 4  # cookies of that name that are looked at: each costs a signature


def has_credentials(authorization: str, cookies: str) -> bool:
    """Tell whether the answer is for one person only."""
    return bool(authorization) or TOKEN_COOKIE in cookies


def identify(
    environ: Mapping[str, Any], verify: Callable[[str], Claims], csrf: Csrf, field: Field | None = None
) -> tuple[Claims | None, Problem | None]:
    """Return who is asking, None for a stranger, and why a cookie proves nobody.

    The token is a bearer (RFC 6750, section 2.1) or the cookie `authToken`; both together must name one user. A bad
    bearer is refused, since a program sent it on purpose. With a bad cookie the client is a stranger: the problem is
    for routes that need a user, and clears the cookie. Raises UNAUTHORIZED, whatever `verify` raises, and CSRF_FAILED
    for an unsafe method with the cookie alone, where `field` returns the CSRF token of a form; None where no form is
    taken.
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
    """Return the user of the first good cookie, or why none is good: another application may have set one too."""
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
    """Return a cookie's value, or nothing; raise UNAUTHORIZED when it is there twice and differs."""
    values = _cookie_values(cookies, name)
    if len(values) > 1:
        raise Problem("UNAUTHORIZED", f"The cookie {name} is there twice.")
    return values[0] if values else ""


def _cookie_values(cookies: str, name: str) -> list[str]:
    """Return the different values of a cookie that are not empty, in their order."""
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
