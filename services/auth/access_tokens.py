"""Sign access tokens: JWTs with EdDSA (RFC 8037, RFC 9068)."""

from datetime import datetime

from flask import Flask, g
from flask_jwt_extended import JWTManager, create_access_token

from services.auth.models import User
from services.auth.signing_keys import Keyring
from shared.identity.access_tokens import AUDIENCE, ISSUER, TYPE
from shared.identity.claims import LIFETIME
from shared.identity.jwks import ALGORITHM
from shared.service import current_service, service_of


def init_app(app: Flask, keyring: Keyring) -> None:
    app.config |= {
        "JWT_ALGORITHM": ALGORITHM,
        "JWT_ENCODE_ISSUER": ISSUER,
        "JWT_ENCODE_AUDIENCE": AUDIENCE,
        "JWT_ENCODE_NBF": False,
    }
    service_of(app).add(keyring)
    JWTManager(app).encode_key_loader(lambda _identity: g.signing_key.private)


def issue_access_token(user: User, session_id: str, issued_at: datetime) -> str:
    """Return a JWT (RFC 9068) of the user in this session, which expires after `LIFETIME` seconds.

    `issued_at` is the time at which the user was read under a lock, so that a later revocation covers this token. It
    has fractions of a second, so that a revocation spares tokens issued right after it.
    """
    keyring: Keyring = current_service().get(Keyring)
    g.signing_key = keyring.signing
    claims = {
        "email": user.email,
        "name": user.name,
        "role": user.role,
        "sid": session_id,
        "iat": issued_at.timestamp(),
        "exp": int(issued_at.timestamp()) + LIFETIME,
    }
    headers = {"kid": g.signing_key.kid, "typ": TYPE}
    token: str = create_access_token(user.id, additional_claims=claims, additional_headers=headers)
    return token
