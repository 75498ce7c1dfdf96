"""Client addresses and browsers from which an account has signed in: each counts its own failed logins.

Both are stored as keyed digests (HMAC), so that the table reveals no address.
"""

import hmac
import secrets
from datetime import datetime

from flask import current_app, request

from services.auth.cookies import DEVICE_COOKIE, DEVICE_LIFETIME
from services.auth.signin_models import SigninSource
from shared import clock
from shared.client_address import client_address, limiter_key
from shared.identity.credentials import cookie_value
from shared.problems import Problem

ADDRESS, DEVICE = "address", "device"
KEPT = {ADDRESS: 20, DEVICE: 100}  # entries of an account; the least recently used are deleted
TOKEN_BYTES = 32


def known_source(user_id: str) -> str:
    """Return the digest of the known browser, otherwise of the known address of the request, "" without either.

    An unknown user id takes the same time.
    """
    device = _device()
    candidates = [_digest(user_id, DEVICE, device)] if device else []
    candidates.append(_digest(user_id, ADDRESS, _address()))
    known = SigninSource.known(user_id, candidates, clock.now() - DEVICE_LIFETIME)
    return next((digest for digest in candidates if digest in known), "")


def note_source(user_id: str, *, browser: bool) -> str:
    """Record the source of a sign-in; return the token for the `device` cookie of a `browser`, otherwise "".

    Call it inside the transaction of the sign-in, which has locked the user.
    """
    now = clock.now()
    _note(user_id, ADDRESS, _address(), now)
    if not browser:
        return ""
    device = _device()
    if not SigninSource.known(user_id, [_digest(user_id, DEVICE, device)], now - DEVICE_LIFETIME):
        device = secrets.token_urlsafe(TOKEN_BYTES)  # never a token that an attacker set (cookie fixation)
    _note(user_id, DEVICE, device, now)
    return device


def forget_devices(user_id: str) -> None:
    """Forget the `device` cookies of a user. Call it inside a transaction."""
    SigninSource.delete().where(SigninSource.user == user_id, SigninSource.kind == DEVICE).execute()


def _note(user_id: str, kind: str, value: str, now: datetime) -> None:
    SigninSource.note(user_id, _digest(user_id, kind, value), kind, now)
    SigninSource.keep_newest(user_id, kind, KEPT[kind])


def _digest(user_id: str, kind: str, value: str) -> str:
    key = hmac.digest(current_app.config["INTERNAL_TOKEN"].encode(), b"signin sources", "sha256")
    return hmac.digest(key, f"{user_id} {kind} {value}".encode("utf-8", "surrogateescape"), "sha256").hex()


def _address() -> str:
    return limiter_key(client_address(request.environ))


def _device() -> str:
    try:
        return cookie_value(request.headers.get("Cookie", ""), DEVICE_COOKIE)
    except Problem:  # sent twice
        return ""
