"""Verify access tokens: the same check in the gateway and in every service.

PyJWT does the cryptography; verified tokens are remembered, because a signature check costs 90 µs and the
memory 2 µs. Only the auth service signs (`services/auth/tokens.py`).
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.types import Options

from shared.problems import Problem

ALGORITHM = "EdDSA"
ISSUER = "postern"
AUDIENCE = "postern"
TYPE = "at+jwt"
LIFETIME = 15 * 60
ROLES = ("user", "moderator", "admin")
_REQUIRED = ["sub", "email", "name", "role", "sid", "jti", "iat", "exp", "iss", "aud"]
_OPTIONS: Options = {"require": _REQUIRED}

Jwks = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claims:
    """Who a token says that the caller is; times in seconds since 1970."""

    user_id: str
    email: str
    name: str
    role: str
    session_id: str
    token_id: str
    issued_at: int
    expires_at: int

    def has_role(self, role: str) -> bool:
        """Tell whether the role suffices; higher ones include lower ones."""
        return ROLES.index(self.role) >= ROLES.index(role)


class KeySet:
    """The public keys of auth, fetched when an unknown key id appears, at most once in `pause` seconds."""

    def __init__(self, fetch: Callable[[], Jwks], pause: float = 5.0) -> None:
        self._fetch = fetch
        self._pause = pause
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._lock = threading.Lock()

    def get(self, kid: str) -> jwt.PyJWK | None:
        """Return the key, or None when auth has none of that id; raise SERVICE_UNAVAILABLE without auth."""
        if kid not in self._keys:
            with self._lock:
                if kid not in self._keys and time.monotonic() - self._fetched_at >= self._pause:
                    self._refresh()
        return self._keys.get(kid)

    def _refresh(self) -> None:
        try:
            jwks = self._fetch()
        except OSError as error:
            raise Problem("SERVICE_UNAVAILABLE", "Tokens cannot be checked at the moment.", retryAfter=1) from error
        self._keys = {key["kid"]: jwt.PyJWK(key, ALGORITHM) for key in jwks["keys"] if _signs(key)}
        self._fetched_at = time.monotonic()


def _signs(key: dict[str, Any]) -> bool:
    """Tell whether the key is meant to verify signatures (RFC 7517, 4.2 and 4.3); PyJWT does not look."""
    return key.get("use", "sig") == "sig" and "verify" in key.get("key_ops", ["verify"])


class Revocations:
    """What ended before its token did: sessions, and all tokens of a user made before a moment.

    Kept for the life of a token; filled from auth's feed.
    """

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self._before: dict[str, tuple[float, float]] = {}

    def end_session(self, session_id: str, now: float) -> None:
        self._ended[session_id] = now + LIFETIME
        self._forget(now)

    def end_tokens_before(self, user_id: str, moment: float, now: float) -> None:
        """End the user's tokens that were issued up to the moment, in seconds since 1970."""
        self._before[user_id] = (moment, now + LIFETIME)
        self._forget(now)

    def covers(self, claims: Claims) -> bool:
        if claims.session_id in self._ended:
            return True
        moment, _ = self._before.get(claims.user_id, (0.0, 0.0))
        return claims.issued_at <= moment

    def _forget(self, now: float) -> None:
        self._ended = {key: until for key, until in self._ended.items() if until > now}
        self._before = {key: value for key, value in self._before.items() if value[1] > now}


class Verifier:
    """Check tokens against auth's public keys and remember those that passed."""

    def __init__(self, keys: KeySet, revocations: Revocations | None = None, capacity: int = 10_000) -> None:
        self.revocations = revocations or Revocations()
        self._keys = keys
        self._capacity = capacity
        self._verified: OrderedDict[str, Claims] = OrderedDict()
        self._lock = threading.Lock()

    def verify(self, token: str) -> Claims:
        """Return the claims; raise UNAUTHORIZED, TOKEN_EXPIRED or TOKEN_REVOKED."""
        claims = self._verified.get(token)
        if claims is None:
            claims = self._check(token)
            with self._lock:
                self._verified[token] = claims
                while len(self._verified) > self._capacity:
                    self._verified.popitem(last=False)
        if claims.expires_at <= time.time():
            raise Problem("TOKEN_EXPIRED")
        if self.revocations.covers(claims):
            raise Problem("TOKEN_REVOKED")
        return claims

    def _check(self, token: str) -> Claims:
        try:
            header = jwt.get_unverified_header(token)
            key = self._keys.get(str(header.get("kid")))
            if key is None or header.get("typ") != TYPE or header.get("crit") is not None:
                raise Problem("UNAUTHORIZED", "The access token is not valid.")
            payload = jwt.decode(
                token, key, algorithms=[ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS
            )
            return _claims(payload)
        except jwt.ExpiredSignatureError as error:
            raise Problem("TOKEN_EXPIRED") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise Problem("UNAUTHORIZED", "The access token is not valid.") from error


def _claims(payload: dict[str, Any]) -> Claims:
    names = ("sub", "email", "name", "role", "sid", "jti")
    if not all(isinstance(payload[name], str) for name in names) or payload["role"] not in ROLES:
        raise ValueError("a claim has the wrong type")
    user_id, email, name, role, session_id, token_id = (payload[name] for name in names)
    return Claims(user_id, email, name, role, session_id, token_id, int(payload["iat"]), int(payload["exp"]))
