import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from services.auth import models, signin_models
from services.auth.app import MIGRATIONS, create_app
from services.auth.config import Config
from services.auth.demo_data import PASSWORD as SEEDED
from services.auth.demo_data import seed
from services.auth.models import database
from services.auth.signing_keys import load_keys
from shared.database import connection
from shared.settings import SettingsError
from tests.auth.conftest import Client, Register, bearer
from tests.helpers import assert_models_match_migrations

PEM = (Encoding.PEM, PrivateFormat.PKCS8)
RSA = rsa.generate_private_key(65537, 2048).private_bytes(*PEM, NoEncryption())
ENCRYPTED = Ed25519PrivateKey.generate().private_bytes(*PEM, BestAvailableEncryption(b"password"))
TABLES = (
    models.Fact,
    models.IdempotencyKey,
    models.User,
    models.Profile,
    models.Session,
    models.RefreshToken,
    models.Mail,
    models.MailToken,
    models.LinkRequest,
    signin_models.FailedLogin,
    signin_models.SigninSource,
    models.AuditEvent,
)


def test_the_private_key_is_for_its_owner_only(client: Client, tmp_path: Path) -> None:
    files = list((tmp_path / "auth").iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600]
    assert stat.S_IMODE((tmp_path / "auth").stat().st_mode) == 0o700


def test_only_what_is_public_is_published(client: Client) -> None:
    answer = client.get("/.well-known/jwks.json")
    (key,) = answer.json["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "use", "alg"}
    assert answer.headers["Cache-Control"] == "public, max-age=300"


def test_a_token_says_who_where_and_until_when(client: Client, register: Register) -> None:
    signin = register()
    token = signin["accessToken"]
    header, claims = jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})
    (key,) = client.get("/.well-known/jwks.json").json["keys"]
    assert (header["alg"], header["typ"], header["kid"]) == ("EdDSA", "at+jwt", key["kid"])
    assert (claims["iss"], claims["aud"], claims["sub"]) == ("postern", "postern", signin["user"]["id"])
    assert (claims["email"], claims["name"], claims["role"]) == ("ann@example.org", "Ann", "user")
    assert claims["sid"] == models.Session.get().id
    assert 899 <= claims["exp"] - claims["iat"] <= 900


def test_a_restart_honours_earlier_tokens(client: Client, register: Register, settings: dict[str, str]) -> None:
    signin = register()
    database.close()
    again = create_app(Config.load(settings)).test_client()
    assert again.get("/api/auth/me", headers=bearer(signin)).status_code == 200


def test_a_retired_key_is_not_made_again(tmp_path: Path) -> None:
    first = load_keys(tmp_path).signing
    (tmp_path / "auth/0001.pem").rename(tmp_path / "auth/0002.pem")
    assert [key.kid for key in load_keys(tmp_path).keys] == [first.kid]


def test_racing_first_starts_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        kids = {keys.signing.kid for keys in pool.map(load_keys, [tmp_path] * 8)}
    assert len(kids) == 1
    assert len(list((tmp_path / "auth").iterdir())) == 1


@pytest.mark.parametrize("content", [b"", b"no key", RSA, ENCRYPTED], ids=["empty", "text", "RSA", "with a password"])
def test_a_key_that_is_none_is_told_with_its_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "auth/0001.pem"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=rf"{path} is no Ed25519 private key .*: restore it, or remove it"):
        load_keys(tmp_path)


def test_models_and_migrations_agree(empty_database_url: str) -> None:
    assert_models_match_migrations(TABLES, connection.connect(empty_database_url), MIGRATIONS)


def test_seeding_in_several_transactions_returns_all_in_order(
    settings: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.auth.demo_data.BATCH", 2)
    told: list[int] = []
    seeded = seed(Config.load(settings), 5, lambda done, _: told.append(done))
    assert [user.email for user in seeded] == [f"demo{number}@example.com" for number in range(1, 6)]
    assert told == [2, 4, 5]


def test_seeding_adds_what_is_missing_and_no_more(settings: dict[str, str], client: Client) -> None:
    config = Config.load(settings)
    first = seed(config, 3, lambda *_: None)
    assert seed(config, 5, lambda *_: None)[:3] == first
    assert models.User.select().count() == models.Fact.select().count() == 5
    answer = client.post("/api/auth/login", json={"email": first[0].email, "password": SEEDED})
    assert answer.status_code == 200
