"""Verify access tokens: the same check in the gateway and in every service.

PyJWT does the cryptography; verified tokens are remembered, because a signature check costs 90 µs and the
memory 2 µs. Only the auth service signs (`services/auth/tokens.py`).
"""

import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.types import Options

from shared import clock
from shared.problems import Problem

ALGORITHM = "EdDSA"
ISSUER = "postern"
AUDIENCE = "postern"
TYPE = "at+jwt"
LIFETIME = 15 * 60  # seconds
LEEWAY = 60  # seconds that the clocks of two machines may differ
REMEMBERED = LIFETIME + 2 * LEEWAY  # seconds after its end for which a session's tokens may still seem to live
MAX_CLAIM = 1000  # characters
MAX_TIME = 2**43  # seconds since 1970, as far as doubles count milliseconds
WARN_EVERY = 60.0  # seconds between two warnings about clocks
PAUSE = 5.0  # seconds between two questions for keys
ROLES = ("user", "moderator", "admin")
_REQUIRED = ["sub", "email", "name", "role", "sid", "jti", "iat", "exp", "iss", "aud"]
# Times are compared here, with the one clock, also for tokens that are remembered.
_OPTIONS: Options = {"require": _REQUIRED, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
# PyJWT drops whatever is no base64url (RFC 7515, 2) and the last bits: one token would have many spellings.
_well_formed = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]").fullmatch
_logger = logging.getLogger("postern.tokens")

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
    issued_at: float
    expires_at: float
    not_before: float = 0.0

    def has_role(self, role: str) -> bool:
        """Tell whether the role suffices; higher ones include lower ones."""
        return ROLES.index(self.role) >= ROLES.index(role)


class KeySet:
    """The public keys of auth, fetched when an unknown key id appears, and now and then to forget what has retired.

    `pause` seconds go by between two questions, `retry` after one that had no answer: whoever invents key ids
    neither floods auth nor keeps the threads here waiting for it.
    """

    def __init__(
        self, fetch: Callable[[], Jwks], pause: float = PAUSE, retry: float = 1.0, max_age: float = 300.0
    ) -> None:
        self._fetch = fetch
        self._pause = pause
        self._retry = retry
        self._max_age = max_age
        self._stale_at = float("inf")
        self._keys: dict[str, jwt.PyJWK] = {}
        self._ask_at = float("-inf")
        self._answered = False
        self._lock = threading.Lock()

    def get(self, kid: str) -> jwt.PyJWK | None:
        """Return the key, or None when auth has none of that id; raise SERVICE_UNAVAILABLE without auth."""
        if key := self._keys.get(kid):
            if time.monotonic() >= self._stale_at:
                self._stale_at = float("inf")
                threading.Thread(target=self._renew, name="keys", daemon=True).start()
            return key
        with self._lock:
            if kid not in self._keys and time.monotonic() >= self._ask_at:
                self._refresh()
            if kid not in self._keys and not self._answered:
                raise Problem("SERVICE_UNAVAILABLE", "Tokens cannot be checked at the moment.")
            return self._keys.get(kid)

    def _renew(self) -> None:
        with self._lock:
            self._refresh()

    def _refresh(self) -> None:
        self._answered = False
        try:
            self._keys = _usable_keys(self._fetch())
            self._answered = True
        except (OSError, LookupError, TypeError, ValueError) as error:
            _logger.warning("the public keys cannot be fetched: %s", error)
        now = time.monotonic()
        self._ask_at = now + (self._pause if self._answered else self._retry)
        self._stale_at = now + (self._max_age if self._answered else self._retry)


def _usable_keys(jwks: Jwks) -> dict[str, jwt.PyJWK]:
    """Keep what verifies our signatures (RFC 7517, 4.1 to 4.4; RFC 8037, 2); PyJWT does not look at all of it."""
    usable = {}
    for key in jwks["keys"]:
        if isinstance(key, dict) and _verifies(key):
            try:
                usable[str(key["kid"])] = jwt.PyJWK(key, ALGORITHM)
            except (LookupError, jwt.PyJWTError) as error:
                _logger.warning("a public key is not usable: %s", error)
    if not usable:
        raise ValueError("none is usable")
    return usable


_OF_A_KEY = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": ALGORITHM}


def _verifies(key: dict[str, Any]) -> bool:
    operations = key.get("key_ops", ["verify"])
    if "d" in key or not isinstance(operations, list) or "verify" not in operations:
        return False
    return all(key.get(name, value) == value for name, value in _OF_A_KEY.items())


class Revocations:
    """What ended before its token did: sessions, and all tokens of a user made before a moment.

    Kept for `REMEMBERED` seconds; filled from auth's feed and, in auth itself, by a logout. From `expect_past` to
    `past_is_known` the process is too young to know what ended before its start: nobody is let in then, which lasts
    milliseconds unless auth is away, and is waited for `patience` seconds at most.
    """

    def __init__(self, patience: float = 3.0) -> None:
        self._ended: dict[str, tuple[float, float]] = {}
        self._before: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._known = threading.Event()
        self._known.set()
        self._patience = patience
        self._patient_until = 0.0

    def expect_past(self) -> None:
        self._patient_until = time.monotonic() + self._patience
        self._known.clear()

    def past_is_known(self) -> None:
        self._known.set()

    def await_past(self) -> None:
        """Return once the past is known; raise SERVICE_UNAVAILABLE when that takes too long."""
        if not self._known.is_set() and not self._known.wait(max(0.0, self._patient_until - time.monotonic())):
            raise Problem("SERVICE_UNAVAILABLE", "Tokens cannot be checked at the moment.")

    def end_session(self, session_id: str, now: float) -> None:
        with self._lock:
            _remember(self._ended, session_id, now, now)

    def end_tokens_before(self, user_id: str, moment: float, now: float) -> None:
        """End the user's tokens that were issued up to the moment, in seconds since 1970."""
        with self._lock:
            earlier, _ = self._before.get(user_id, (0.0, 0.0))
            _remember(self._before, user_id, max(moment, earlier), now)

    def covers(self, claims: Claims) -> bool:
        if claims.session_id in self._ended:
            return True
        moment, _ = self._before.get(claims.user_id, (0.0, 0.0))
        return claims.issued_at <= moment


def _remember(entries: dict[str, tuple[float, float]], key: str, moment: float, now: float) -> None:
    """Put an entry last, and forget from the first on those that no living token can need."""
    entries.pop(key, None)
    entries[key] = (moment, now + REMEMBERED)
    while entries and next(iter(entries.values()))[1] <= now:
        del entries[next(iter(entries))]


class Verifier:
    """Check tokens against auth's public keys and remember those that passed."""

    def __init__(self, keys: KeySet, revocations: Revocations | None = None, capacity: int = 10_000) -> None:
        self.revocations = revocations or Revocations()
        self._keys = keys
        self._capacity = capacity
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
            raise Problem("TOKEN_EXPIRED")
        if max(claims.issued_at, claims.not_before) > now + LEEWAY:
            self._warn_of_clocks(max(claims.issued_at, claims.not_before) - now)
            raise Problem("UNAUTHORIZED", "The access token is not valid yet.")
        self.revocations.await_past()
        if self.revocations.covers(claims):
            raise Problem("TOKEN_REVOKED")
        return claims

    def _warn_of_clocks(self, seconds: float) -> None:
        if time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + WARN_EVERY
            _logger.warning("tokens are refused that auth signed %.0f s in the future: compare the clocks", seconds)

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
    if not all(isinstance(text, str) and len(text) <= MAX_CLAIM for text in texts) or payload["role"] not in ROLES:
        raise ValueError("a claim has the wrong type")
    times = [payload["iat"], payload["exp"], payload.get("nbf", 0)]
    if not all(type(moment) in (int, float) and 0 <= moment < MAX_TIME for moment in times):  # NaN is not in range
        raise ValueError("a time has the wrong type or is out of range")
    issued_at, expires_at, not_before = map(float, times)
    if not 0 < expires_at - issued_at <= LIFETIME + LEEWAY:
        raise ValueError("a token of another lifetime than ours")
    user_id, email, name, role, session_id, token_id = texts
    return Claims(user_id, email, name, role, session_id, token_id, issued_at, expires_at, not_before)
