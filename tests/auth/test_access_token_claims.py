from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from services.auth.app import create_app
from services.auth.config import Config
from services.auth.models import database
from shared.identity.claims import LEEWAY, LIFETIME
from tests.auth.conftest import Client, Register, bearer
from tests.conftest import FrozenClock, on_sqlite
from tests.helpers import assert_problem

Forge = Callable[[dict[str, Any], dict[str, Any], Any], str]


def _signed(claims: dict[str, Any], headers: dict[str, Any], key: Any, algorithm: str = "EdDSA") -> str:
    return jwt.encode(claims, key, algorithm, headers=headers)


def _with_public_key_as_secret(claims: dict[str, Any], headers: dict[str, Any], key: Any) -> str:
    secret = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return _signed(claims, headers | {"alg": "HS256"}, secret, "HS256")


FORGED: dict[str, Forge] = {
    "another key": lambda claims, headers, _: _signed(claims, headers, Ed25519PrivateKey.generate()),
    "no signature": lambda claims, headers, _: _signed(claims, headers | {"alg": "none"}, None, "none"),
    "the public key as a secret": _with_public_key_as_secret,
    "another kind": lambda claims, headers, key: _signed(claims, headers | {"typ": "JWT"}, key),
    "an unknown key id": lambda claims, headers, key: _signed(claims, headers | {"kid": "x"}, key),
    "a critical extension": lambda claims, headers, key: _signed(claims, headers | {"crit": ["x"], "x": 1}, key),
    "another issuer": lambda claims, headers, key: _signed(claims | {"iss": "x"}, headers, key),
    "another audience": lambda claims, headers, key: _signed(claims | {"aud": "x"}, headers, key),
    "an unknown role": lambda claims, headers, key: _signed(claims | {"role": "root"}, headers, key),
    "a number as the user": lambda claims, headers, key: _signed(claims | {"sub": 7}, headers, key),
    "no session": lambda claims, headers, key: _signed(_without(claims, "sid"), headers, key),
    "no end": lambda claims, headers, key: _signed(_without(claims, "exp"), headers, key),
    "a changed letter": lambda claims, headers, key: _signed(claims, headers, key)[:-3] + "AAA",
    "a cut end": lambda claims, headers, key: _signed(claims, headers, key)[:-10],
    "nothing like it": lambda *_: "x.y.z",
}


def _without(claims: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in claims.items() if key != name}


@on_sqlite
@pytest.mark.parametrize("case", FORGED)
def test_a_forged_token_is_refused_in_the_one_shape(
    client: Client, register: Register, tmp_path: Path, case: str
) -> None:
    token = register()["accessToken"]
    headers, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    key = load_pem_private_key((tmp_path / "auth/0001.pem").read_bytes(), None)
    assert (
        client.get("/api/auth/me", headers={"Authorization": f"Bearer {_signed(claims, headers, key)}"}).status_code
        == 200
    )
    forged = {"Authorization": f"Bearer {FORGED[case](claims, headers, key)}"}
    assert_problem(client.get("/api/auth/me", headers=forged), 401, "UNAUTHORIZED")


@on_sqlite
def test_a_refresh_token_is_no_access_token_nor_the_other_way_round(client: Client, register: Register) -> None:
    signin = register()
    answer = client.get("/api/auth/me", headers={"Authorization": f"Bearer {signin['refreshToken']}"})
    assert_problem(answer, 401, "UNAUTHORIZED")
    body = {"refreshToken": signin["accessToken"][:200]}
    assert_problem(client.post("/api/auth/refresh", json=body), 401, "UNAUTHORIZED")


@on_sqlite
def test_an_access_token_lives_for_fifteen_minutes_and_the_leeway(
    client: Client, register: Register, frozen_clock: FrozenClock
) -> None:
    headers = bearer(register())
    frozen_clock.advance(seconds=LIFETIME + LEEWAY - 1)
    assert client.get("/api/auth/me", headers=headers).status_code == 200
    frozen_clock.advance(seconds=1)
    assert_problem(client.get("/api/auth/me", headers=headers), 401, "TOKEN_EXPIRED")


def test_a_restart_still_refuses_what_was_revoked(client: Client, register: Register, settings: dict[str, str]) -> None:
    signin = register()
    client.post("/api/auth/logout", headers=bearer(signin))
    database.close()
    again = create_app(Config.load(settings)).test_client()
    assert_problem(again.get("/api/auth/me", headers=bearer(signin)), 401, "TOKEN_REVOKED")
