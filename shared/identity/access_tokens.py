"""Verify access tokens: the same check in the gateway and in every service.

PyJWT does the cryptography; verified tokens are remembered, because a signature check costs 90 µs and the
memory 2 µs. Only the auth service signs (`services/auth/access_tokens.py`).
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jwt
from jwt.types import Options

from shared import clock
from shared.identity.claims import LEEWAY, LIFETIME, Claims
from shared.identity.jwks import ALGORITHM, KeySet
from shared.identity.revocations import Revocations
from shared.identity.roles import ROLES
from shared.ids import is_id
from shared.problems import Problem

ISSUER = "postern"
AUDIENCE = "postern"
TYPE = "at+jwt"
MAX_CLAIM = 1000  # characters
MAX_TIME = 2**43  # seconds since 1970, as far as doubles count milliseconds
WARN_EVERY = 60.0  # seconds between two warnings about clocks
_REQUIRED = ["sub", "email", "name", "role", "sid", "jti", "iat", "exp", "iss", "aud"]
# Times are compared here, with the one clock, also for tokens that are remembered.
_OPTIONS: Options = {"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
# PyJWT drops whatever is no base64url (RFC 7515, 2) and the last bits: one token would have many spellings.
_well_formed = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]").fullmatch
# What a database can keep: neither NUL nor lone surrogates.
_is_text = re.compile(rf"[^\x00\ud800-\udfff]{{1,{MAX_CLAIM}}}").fullmatch
_logger = logging.getLogger("postern.tokens")


class Verifier:
    """Check tokens against auth's public keys and remember those that passed."""

    def __init__(
        self,
        keys: KeySet,
        revocations: Revocations | None = None,
        capacity: int = 10_000,
        seconds_ahead: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.revocations = revocations or Revocations()
        self._keys = keys
        self._capacity = capacity
        self._seconds_ahead = seconds_ahead  # of auth's clock, as far as this process has seen
        self._verified: OrderedDict[str, Claims] = OrderedDict()
        self._lock = threading.Lock()
        self._warn_at = float("-inf")

    def verify(self, token: str) -> Claims:
        """Return the claims; raise UNAUTHORIZED, TOKEN_EXPIRED, TOKEN_REVOKED or SERVICE_UNAVAILABLE.

        Times are compared with a leeway of `LEEWAY` seconds.
        """
        with self._lock:
            claims = self._verified.get(token)
            if claims:
                self._verified.move_to_end(token)
        claims = claims or self._check(token)
        now = clock.now().timestamp()
        if claims.expires_at + LEEWAY <= now:
            ahead = self._seconds_ahead()
            if ahead > LEEWAY and claims.expires_at + LEEWAY > now - ahead:
                self._warn("tokens are refused as expired, but not by auth's clock, which is %.0f s behind", ahead)
            raise Problem("TOKEN_EXPIRED")
        if max(claims.issued_at, claims.not_before) > now + LEEWAY:
            seconds = max(claims.issued_at, claims.not_before) - now
            self._warn("tokens are refused that auth signed %.0f s in the future", seconds)
            raise Problem("UNAUTHORIZED", "The access token is not valid yet.")
        self.revocations.await_past()
        if self.revocations.covers(claims):
            raise Problem("TOKEN_REVOKED")
        return claims

    def _warn(self, text: str, seconds: float) -> None:
        if time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + WARN_EVERY
            _logger.warning(f"{text}: compare the clocks", seconds)  # noqa: G004

    def _check(self, token: str) -> Claims:
        """Check everything that does not change with time, and remember the token."""
        try:
            claims = _claims(self._payload(token))
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise Problem("UNAUTHORIZED", "The access token is not valid.") from error
        with self._lock:
            self._verified[token] = claims
            if len(self._verified) > self._capacity:
                self._verified.popitem(last=False)
        return claims

    def _payload(self, token: str) -> dict[str, Any]:
        if not _well_formed(token):
            raise ValueError("not in the compact form")
        header = jwt.get_unverified_header(token)
        if header.get("alg") != ALGORITHM or header.get("typ") != TYPE or "kid" not in header:
            raise ValueError("not one of our headers")
        key = self._keys.get(header["kid"])
        if key is None:
            raise ValueError("not one of our keys")
        return jwt.decode(token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS)


def _claims(payload: dict[str, Any]) -> Claims:
    """Check type and range of every claim, as if the key were somebody else's; raise ValueError."""
    texts = [payload[name] for name in ("sub", "email", "name", "role", "sid", "jti")]
    if not all(isinstance(text, str) and _is_text(text) for text in texts) or payload["role"] not in ROLES:
        raise ValueError("a claim has the wrong type")
    if not (is_id(payload["sub"]) and is_id(payload["sid"])):
        raise ValueError("a claim is no id")
    times = [payload["iat"], payload["exp"], payload.get("nbf", 0)]
    if not all(type(moment) in (int, float) and 0 <= moment < MAX_TIME for moment in times):  # NaN is not in range
        raise ValueError("a time has the wrong type or is out of range")
    issued_at, expires_at, not_before = map(float, times)
    if not 0 < expires_at - issued_at <= LIFETIME + LEEWAY:
        raise ValueError("a token of another lifetime than ours")
    user_id, email, name, role, session_id, token_id = texts
    return Claims(user_id, email, name, role, session_id, token_id, issued_at, expires_at, not_before)
