"""Sign access tokens: the only holder of the private keys."""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from flask import Flask, current_app
from flask_jwt_extended import JWTManager, create_access_token

from services.auth.models import User
from shared.env import SettingsError, private_file
from shared.tokens import ALGORITHM, AUDIENCE, ISSUER, LIFETIME, TYPE, Jwks

FIRST_KEY = "0001.pem"


@dataclass(frozen=True)
class SigningKey:
    """A private key, and what of it is public."""

    private: Ed25519PrivateKey
    public: dict[str, str]

    @property
    def kid(self) -> str:
        return self.public["kid"]


@dataclass(frozen=True)
class Keys:
    """All keys whose tokens may still be alive, the oldest first; the newest signs."""

    keys: tuple[SigningKey, ...]

    @property
    def newest(self) -> SigningKey:
        return self.keys[-1]

    def jwks(self) -> Jwks:
        """Return the public keys as a JSON Web Key Set (RFC 7517)."""
        return {"keys": [key.public for key in self.keys]}


def load_keys(data_dir: Path) -> Keys:
    """Read the keys under `DATA_DIR/auth`; the first start makes one (mode 0600). Raise SettingsError."""
    folder = data_dir / "auth"
    if not _pem_files(folder):
        private_file(folder / FIRST_KEY, _new_pem)
    return Keys(tuple(_read_key(path) for path in _pem_files(folder)))


def _pem_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.pem"))


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
    return SigningKey(private, public | {"kid": _thumbprint(public["x"]), "use": "sig", "alg": ALGORITHM})


def _thumbprint(x: str) -> str:
    """Name a key by what it is (RFC 7638; RFC 8037, appendix A.3)."""
    digest = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return urlsafe_b64encode(digest).decode().rstrip("=")


def init_app(app: Flask, keys: Keys) -> None:
    app.config |= {
        "JWT_ALGORITHM": ALGORITHM,
        "JWT_PRIVATE_KEY": keys.newest.private,
        "JWT_ENCODE_ISSUER": ISSUER,
        "JWT_ENCODE_AUDIENCE": AUDIENCE,
        "JWT_ENCODE_NBF": False,
    }
    app.extensions["postern.keys"] = keys
    JWTManager(app)


def issue_access_token(user: User, session_id: str, issued_at: datetime) -> str:
    """Sign who the user is in this session, for the next `LIFETIME` seconds.

    `issued_at` is when the user was so, read under a lock: a role that is taken away meanwhile ends this token too.
    It has its fraction of a second, so that what ends a user's tokens spares those made right after it.
    """
    keys: Keys = current_app.extensions["postern.keys"]
    claims = {
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "sid": session_id,
        "iat": issued_at.timestamp(),
        "exp": int(issued_at.timestamp()) + LIFETIME,
    }
    headers = {"kid": keys.newest.kid, "typ": TYPE}
    token: str = create_access_token(user.id, additional_claims=claims, additional_headers=headers)
    return token
