"""Session cookies of a browser: set at login, rotated at refresh, cleared at logout."""

from datetime import timedelta

from flask import Response

from services.auth.models import TOKEN_LIFETIME
from shared.identity.claims import LIFETIME
from shared.identity.credentials import TOKEN_COOKIE
from shared.identity.csrf import CSRF_COOKIE

REFRESH_COOKIE = "refreshToken"
REFRESH_PATH = "/api/auth"
DEVICE_COOKIE = "device"
DEVICE_LIFETIME = timedelta(days=30)
# Cookies are cleared one by one: "cookies" here would take those of every application on the registrable domain.
CLEAR = '"storage"'


def keep(response: Response, access_token: str, refresh_token: str, csrf_token: str, *, remember: bool) -> Response:
    """Set the cookies of a session (RFC 6265bis); all but the CSRF token are `HttpOnly`.

    Without `remember` they are session cookies without `Max-Age`.
    """
    _set(response, TOKEN_COOKIE, access_token, LIFETIME if remember else None)
    _set(response, REFRESH_COOKIE, refresh_token, TOKEN_LIFETIME[True] if remember else None, path=REFRESH_PATH)
    _set(response, CSRF_COOKIE, csrf_token, TOKEN_LIFETIME[True] if remember else None, readable=True)
    return response


def keep_device(response: Response, token: str) -> Response:
    """Set the `device` cookie, which identifies the browser at the next sign-in."""
    _set(response, DEVICE_COOKIE, token, DEVICE_LIFETIME, path=REFRESH_PATH)
    return response


def are_sent(cookies: str) -> bool:
    """Return whether the request has a session cookie; cross-site requests have none (SameSite=Strict)."""
    return any(name in cookies for name in (TOKEN_COOKIE, REFRESH_COOKIE, CSRF_COOKIE))


def clear(response: Response) -> Response:
    """Clear the cookies of a session."""
    _set(response, TOKEN_COOKIE, "", 0)
    _set(response, REFRESH_COOKIE, "", 0, path=REFRESH_PATH)
    _set(response, CSRF_COOKIE, "", 0, readable=True)
    return response


def forget(response: Response) -> Response:
    """Clear the cookies of a session and the storage of this origin (Clear-Site-Data)."""
    clear(response)
    response.headers["Clear-Site-Data"] = CLEAR
    return response


def _set(
    response: Response,
    name: str,
    value: str,
    max_age: timedelta | int | None,
    *,
    path: str = "/",
    readable: bool = False,
) -> None:
    response.set_cookie(name, value, max_age=max_age, path=path, secure=True, httponly=not readable, samesite="Strict")
