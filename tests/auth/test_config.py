"""The settings of mails."""

import secrets
from pathlib import Path

import pytest

from services.auth.config import Config
from shared.settings import SettingsError

PRODUCTION = {
    "APP_ENV": "production",
    "INTERNAL_TOKEN": secrets.token_hex(32),
    "EMAIL_URL": "smtps://postern:secret@mail.example.org",
    "MAIL_FROM": "Postern <postern@example.org>",
}


def mistakes(tmp_path: Path, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Config.load({"DATA_DIR": str(tmp_path)} | environ)
    return [line.split()[0] for line in caught.value.mistakes]


def test_production_needs_a_mail_server_and_a_sender(tmp_path: Path) -> None:
    assert mistakes(tmp_path, **PRODUCTION | {"EMAIL_URL": "", "MAIL_FROM": ""}) == ["EMAIL_URL", "MAIL_FROM"]


def test_verification_is_required_in_production_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    place = {"DATA_DIR": str(tmp_path)}
    assert Config.load(place | PRODUCTION).needs_verification
    assert not Config.load(place | PRODUCTION | {"EMAIL_VERIFICATION": "optional"}).needs_verification
    assert not Config.load(place).needs_verification


@pytest.mark.parametrize(
    "name, value",
    [
        ("EMAIL_URL", "http://mail.example.org"),
        ("EMAIL_URL", "smtp://"),
        ("MAIL_FROM", "nobody"),
        ("MAIL_FROM", "a@example.org, b@example.org"),
        ("APP_URL", "app.example.org"),
        ("EMAIL_VERIFICATION", "maybe"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, name: str, value: str) -> None:
    assert mistakes(tmp_path, **{name: value}) == [name]


def test_requests_are_always_counted_in_production(tmp_path: Path) -> None:
    assert mistakes(tmp_path, **PRODUCTION | {"RATELIMIT_ENABLED": "false"}) == ["RATELIMIT_ENABLED"]
