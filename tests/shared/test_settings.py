"""Settings: checked all at once, with secrets that are made or refused."""

import hashlib
import multiprocessing
import secrets
import stat
from pathlib import Path

import pytest

from shared.problems import Problem
from shared.settings import SettingsError, origin, private_file
from tests.shared.toys import Config

SECRET = hashlib.sha256(b"for tests").hexdigest()
PRODUCTION = {"APP_ENV": "production", "INTERNAL_TOKEN": SECRET}


def load(tmp_path: Path, **environ: str) -> Config:
    return Config.load({"DATA_DIR": str(tmp_path), "APP_ENV": "test"} | environ)


def mistakes(tmp_path: Path, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, **environ)
    return caught.value.mistakes


def test_names_every_mistake_at_once(tmp_path: Path) -> None:
    wrong = {"APP_ENV": "production", "LOG_LEVEL": "loud", "AUTH_PORT": "0", "AUTH_URL": "ftp://x", "PUBLIC_URL": "x"}
    found = mistakes(tmp_path, **wrong)
    assert [line.split()[0] for line in found] == ["LOG_LEVEL", "PUBLIC_URL", "AUTH_PORT", "AUTH_URL", "INTERNAL_TOKEN"]
    assert not (tmp_path / "secrets").exists()


@pytest.mark.parametrize(
    "name, value",
    [
        ("APP_ENV", "prod"),
        ("AUTH_PORT", "65536"),
        ("AUTH_PORT", "-1"),
        ("AUTH_PORT", "٨٠٠١"),
        ("AUTH_PORT", "00000000000000008001999"),
        ("AUTH_PORT", "8001 "),
        ("AUTH_URL", "http://"),
        ("AUTH_URL", "http://:8001"),
        ("AUTH_URL", "http://host:port"),
        ("AUTH_URL", "http://[::1"),
        ("REDIS_URL", "http://localhost"),
        ("TOYS_DATABASE_URL", "mysql://localhost/toys"),
        ("TOYS_DATABASE_URL", "sqlite:toys.db"),
        ("TOYS_DATABASE_URL", "sqlite://toys.db"),
        ("TOYS_DATABASE_URL", "sqlite:///"),
        ("TOYS_DATABASE_URL", "postgresql:///"),
        ("CORS_ORIGINS", "http://localhost:3000,*"),
        ("CORS_ORIGINS", "http://localhost:3000/path"),
        ("CORS_ORIGINS", "http://LOCALHOST:3000"),
        ("INTERNAL_TOKEN", "short"),
        ("INTERNAL_TOKEN", "a" * 64),
        ("INTERNAL_TOKEN", SECRET + " "),
        ("INTERNAL_TOKEN", SECRET + "é"),
    ],
)
def test_refuses_a_wrong_value_without_repeating_it(tmp_path: Path, name: str, value: str) -> None:
    found = mistakes(tmp_path, **{"INTERNAL_TOKEN": SECRET, name: value})
    assert [line.split()[0] for line in found] == [name]
    assert SECRET not in found[0]


def test_asks_for_secrets_when_the_environment_is_mistyped(tmp_path: Path) -> None:
    found = mistakes(tmp_path, APP_ENV="prodution")
    assert [line.split()[0] for line in found] == ["APP_ENV", "INTERNAL_TOKEN"]


def test_starts_in_production_with_a_strong_secret(tmp_path: Path) -> None:
    assert load(tmp_path, **PRODUCTION).production


def test_never_shows_a_value_in_the_repr_of_a_config(tmp_path: Path) -> None:
    config = load(tmp_path, INTERNAL_TOKEN=SECRET, TOYS_DATABASE_URL="postgresql://u:passw0rd@h/d")
    assert SECRET not in repr(config)
    assert "passw0rd" not in repr(config)


def test_defaults_follow_other_settings(tmp_path: Path) -> None:
    config = load(tmp_path, AUTH_PORT="9001")
    assert config.auth_url == "http://127.0.0.1:9001"
    assert config.database_url == f"sqlite:///{tmp_path}/toys.db"
    assert load(tmp_path, AUTH_PORT="9001", AUTH_URL="http://auth:1/").auth_url == "http://auth:1"


def test_takes_an_empty_variable_for_unset(tmp_path: Path) -> None:
    config = load(tmp_path, LOG_LEVEL="", REDIS_URL="", CORS_ORIGINS="")
    assert (config.log_level, config.redis_url) == ("info", None)
    assert config.cors_origins == ("http://localhost:3000", "http://127.0.0.1:3000")


def test_no_front_end_is_known_by_default_in_production() -> None:
    assert Config.load(PRODUCTION).cors_origins == ()


def test_strips_a_final_slash_of_an_origin() -> None:
    assert origin("https://example.org/") == "https://example.org"


def test_makes_the_development_secret_once_for_its_owner_only(tmp_path: Path) -> None:
    first, second = load(tmp_path), load(tmp_path)
    file = tmp_path / "secrets" / "internal_token"
    assert first.internal_token == second.internal_token == file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_says_where_a_secret_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("a file where the folder should be")
    assert "cannot be kept at" in mistakes(tmp_path)[0]


def test_refuses_a_development_secret_that_was_cut_off(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "secrets" / "internal_token").write_text("abc")
    assert "at least 32 characters" in mistakes(tmp_path)[0]


def race(folder: Path) -> bytes:
    return private_file(folder / "deep" / "secret", lambda: secrets.token_bytes(16))


def test_racing_processes_agree_on_one_secret(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(20)]
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        contents = pool.map(race, [folder for folder in folders for _ in range(8)], chunksize=1)
    assert len(set(contents)) == len(folders)
    assert all(list((folder / "deep").iterdir()) == [folder / "deep" / "secret"] for folder in folders)


def test_the_type_of_a_problem_is_on_the_gateway(tmp_path: Path) -> None:
    config = load(tmp_path, PUBLIC_URL="https://api.example.org/")
    body = Problem("NOT_FOUND").body("/", "1", config.public_url)
    assert b'"type":"https://api.example.org/api/errors/NOT_FOUND"' in body


def test_links_follow_the_port_of_the_gateway(tmp_path: Path) -> None:
    assert load(tmp_path, GATEWAY_PORT="9000").public_url == "http://localhost:9000"
    assert load(tmp_path, GATEWAY_PORT="9000", PUBLIC_URL="http://h").public_url == "http://h"
