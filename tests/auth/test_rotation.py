"""A key is published, signs, and retires, at moments that leave no token unknown."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest

from services.auth import commands, signing_keys
from services.auth.signing_keys import KEPT_FOR, LOOK_EVERY, PUBLISHED_FOR, Keyring, add_key, load_keys
from shared.identity.claims import LIFETIME
from shared.identity.jwks import PAUSE
from tests.auth.conftest import Client, Register
from tests.conftest import FrozenClock, on_sqlite

Rotate = Callable[[], Path]


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "LOOK_EVERY", 0)


@pytest.fixture
def rotate(tmp_path: Path, frozen_clock: FrozenClock) -> Rotate:
    """Add a key at the frozen moment."""

    def rotate() -> Path:
        path = add_key(tmp_path)
        os.utime(path, (frozen_clock.moment.timestamp(),) * 2)
        return path

    return rotate


@pytest.fixture
def ring(tmp_path: Path, rotate: Rotate, frozen_clock: FrozenClock) -> Keyring:
    """Return the keys of a process that has run for a while."""
    rotate()
    ring = load_keys(tmp_path)
    frozen_clock.advance(hours=1)
    return ring


def kids(ring: Keyring) -> list[str]:
    return [key["kid"] for key in ring.jwks()["keys"]]


def test_a_verifier_has_time_to_learn_of_a_key_before_it_signs() -> None:
    assert PUBLISHED_FOR > PAUSE + 2 * LOOK_EVERY
    assert KEPT_FOR > LIFETIME + LOOK_EVERY


def test_a_new_key_is_public_at_once_and_signs_later(ring: Keyring, rotate: Rotate, frozen_clock: FrozenClock) -> None:
    first = ring.signing.kid
    assert stat.S_IMODE(rotate().stat().st_mode) == 0o600
    assert len(kids(ring)) == 2
    frozen_clock.advance(seconds=PUBLISHED_FOR - 0.1)
    assert ring.signing.kid == first
    frozen_clock.advance(seconds=0.1)
    assert ring.signing.kid == kids(ring)[1] != first


def test_an_old_key_stays_until_its_last_token_has_ended(
    ring: Keyring, rotate: Rotate, frozen_clock: FrozenClock, tmp_path: Path
) -> None:
    rotate()
    old, new = kids(ring)
    frozen_clock.advance(seconds=PUBLISHED_FOR + KEPT_FOR - 0.1)
    assert kids(ring) == [old, new]
    frozen_clock.advance(seconds=0.1)
    assert kids(ring) == [new]
    assert [path.name for path in (tmp_path / "auth").iterdir()] == ["0002.pem"]
    assert add_key(tmp_path).name == "0003.pem"


def test_keys_follow_one_another_however_often_one_rotates(
    ring: Keyring, rotate: Rotate, frozen_clock: FrozenClock
) -> None:
    rotate()
    frozen_clock.advance(minutes=1)
    rotate()
    _first, second, third = kids(ring)
    assert ring.signing.kid == second
    frozen_clock.advance(seconds=PUBLISHED_FOR)
    assert ring.signing.kid == third
    frozen_clock.advance(seconds=KEPT_FOR - 60)
    assert kids(ring) == [second, third]
    frozen_clock.advance(seconds=60)
    assert kids(ring) == [third]
    frozen_clock.advance(days=400)
    assert kids(ring) == [third]


def test_the_only_key_signs_however_new_it_is(tmp_path: Path) -> None:
    assert load_keys(tmp_path).signing


def test_a_key_that_cannot_be_read_changes_nothing(ring: Keyring, rotate: Rotate, tmp_path: Path) -> None:
    (tmp_path / "auth/0009.pem").write_text("no key")
    (tmp_path / "auth/copy.pem").write_text("of no concern")
    assert len(kids(ring)) == 1
    (tmp_path / "auth/0009.pem").unlink()
    rotate()
    assert len(kids(ring)) == 2


def test_a_folder_that_is_gone_changes_nothing(ring: Keyring, tmp_path: Path) -> None:
    (tmp_path / "auth").rename(tmp_path / "away")
    assert len(kids(ring)) == 1


def test_the_folder_is_looked_at_once_in_a_while(
    ring: Keyring, rotate: Rotate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing_keys, "LOOK_EVERY", 60)
    assert len(kids(ring)) == 1
    rotate()
    assert len(kids(ring)) == 1


@on_sqlite
def test_tokens_name_the_key_that_signed_them(client: Client, register: Register, tmp_path: Path) -> None:
    old = jwt.get_unverified_header(register()["accessToken"])["kid"]
    path = add_key(tmp_path)
    os.utime(path, (path.stat().st_mtime - PUBLISHED_FOR,) * 2)
    token = register(email="bob@example.org")["accessToken"]
    keys: list[dict[str, Any]] = client.get("/.well-known/jwks.json").json["keys"]
    assert [key["kid"] for key in keys] == [old, jwt.get_unverified_header(token)["kid"]]
    jwt.decode(token, jwt.PyJWK(keys[1]), algorithms=["EdDSA"], audience="postern")


def test_the_command_says_what_happens_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert commands.rotate_keys([]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}/auth/0001.pem is public within a second and signs in 10 seconds."
        " Older keys are removed 17 minutes after that.\n"
    )
    monkeypatch.setenv("APP_ENV", "nonsense")
    assert commands.rotate_keys([]) == 2
    assert "APP_ENV must be one of" in capsys.readouterr().err
