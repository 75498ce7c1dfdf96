"""The private keys under `DATA_DIR/auth`, and their rotation while processes run.

A key is a file, and its modification time says in which phase it is. Each process looks at the folder every second, so
a rotation needs no restart.

Example: 0001.pem signs. `make rotate-keys` writes 0002.pem at 12:00:00. From 12:00:01 on the JWKS has both public keys,
so that every verifier can fetch the new one. From 12:00:10 on (`PUBLISHED_FOR`) 0002 signs. `KEPT_FOR` seconds later,
when the last token of 0001 has expired, 0001.pem is deleted.
"""

import hashlib
import logging
import threading
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from shared import clock
from shared.identity.claims import REMEMBERED
from shared.identity.jwks import ALGORITHM, Jwks
from shared.settings import SettingsError, private_file

PUBLISHED_FOR = 10.0  # seconds; a verifier fetches the JWKS at most every 5 seconds
KEPT_FOR = float(REMEMBERED)  # seconds after its last token was signed
LOOK_EVERY = 1.0  # seconds
_logger = logging.getLogger("postern.keys")


@dataclass(frozen=True)
class SigningKey:
    """A private key, its public JWK and its PEM file; it signs from `signs_from` (Unix time) on."""

    private: Ed25519PrivateKey
    public: dict[str, str]
    path: Path
    signs_from: float

    @property
    def kid(self) -> str:
        return self.public["kid"]


class Keyring:
    """All keys whose access tokens may still be valid, the oldest first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys = _read(folder)
        self._look_at = time.monotonic() + LOOK_EVERY
        self._lock = threading.Lock()

    @property
    def keys(self) -> tuple[SigningKey, ...]:
        """Return the keys; check the folder for changes every `LOOK_EVERY` seconds."""
        if time.monotonic() >= self._look_at and self._lock.acquire(blocking=False):
            try:
                self._look_at = time.monotonic() + LOOK_EVERY
                self._look()
            finally:
                self._lock.release()
        return self._keys

    @property
    def signing(self) -> SigningKey:
        """Return the newest key that has been published for `PUBLISHED_FOR` seconds, otherwise the oldest."""
        now, keys = clock.now().timestamp(), self.keys
        return next((key for key in reversed(keys) if key.signs_from <= now), keys[0])

    def jwks(self) -> Jwks:
        """Return the public keys as a JSON Web Key Set (RFC 7517)."""
        return {"keys": [key.public for key in self.keys]}

    def _look(self) -> None:
        """Reload the keys if a file has changed; keep the loaded ones if the folder cannot be read."""
        try:
            _retire(self._keys)
            known = {(key.path, key.signs_from) for key in self._keys}
            if known != {(path, _signs_from(path)) for path in _files(self._folder)}:
                self._keys = _read(self._folder) or self._keys
        except (OSError, SettingsError) as error:
            _logger.error("the keys in %s cannot be read: %s", self._folder, error)


def load_keys(data_dir: Path) -> Keyring:
    """Read the keys under `DATA_DIR/auth`; the first start creates one (mode 0600). Raise SettingsError."""
    folder = data_dir / "auth"
    if not _files(folder):
        private_file(folder / _name(1), _new_pem)
    return Keyring(folder)


def add_key(data_dir: Path) -> Path:
    """Create the next key, which running processes load within a second; return its file."""
    folder = data_dir / "auth"
    numbers = [int(path.stem) for path in _files(folder)]
    target = folder / _name(max(numbers, default=0) + 1)
    private_file(target, _new_pem)
    return target


def _name(number: int) -> str:
    return f"{number:04}.pem"


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.pem") if path.stem.isdecimal())


def _signs_from(path: Path) -> float:
    return path.stat().st_mtime + PUBLISHED_FOR


def _retire(keys: tuple[SigningKey, ...]) -> None:
    """Delete the keys whose last access token has expired."""
    now = clock.now().timestamp()
    for key, successor in pairwise(keys):
        if successor.signs_from + KEPT_FOR <= now and key.path.exists():
            key.path.unlink(missing_ok=True)
            _logger.info("key %s has retired", key.kid)


def _read(folder: Path) -> tuple[SigningKey, ...]:
    return tuple(_read_key(path) for path in _files(folder))


def _new_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_key(path: Path) -> SigningKey:
    try:
        private = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        advice = "restore it, or remove it and sign everybody out"
        raise SettingsError([f"{path} is no Ed25519 private key in PEM without a password: {advice}"])
    public = jwt.algorithms.OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
    public |= {"kid": _thumbprint(public["x"]), "use": "sig", "alg": ALGORITHM}
    return SigningKey(private, public, path, _signs_from(path))


def _thumbprint(x: str) -> str:
    """Return the JWK thumbprint (RFC 7638; RFC 8037, appendix A.3) of a public key."""
    digest = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")
