"""The public keys of the auth service (JWKS, RFC 7517), with which every service verifies access tokens."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt

from shared.problems import Problem

ALGORITHM = "EdDSA"
PAUSE = 5.0  # seconds between two fetches
_logger = logging.getLogger("postern.tokens")

Jwks = dict[str, Any]


class KeySet:
    """The public keys of auth: fetched for an unknown key id, and again after `max_age` seconds, to drop retired keys.

    At least `pause` seconds are between two fetches, `retry` after a failed one. So tokens with made-up key ids neither
    flood auth nor block the threads here.
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
        """Return the key, None if auth has no such id; raise SERVICE_UNAVAILABLE if auth cannot be reached."""
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
    """Return the keys that verify Ed25519 signatures (RFC 7517, 4.1 to 4.4; RFC 8037, 2); PyJWT checks only a part."""
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


JWKS_PATH = "/.well-known/jwks.json"
