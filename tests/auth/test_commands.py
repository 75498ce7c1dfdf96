import re
from typing import Any

import pytest

from services.auth import commands
from services.auth.models import AuditEvent, Fact, User, database
from tests.auth.conftest import Client, Register, facts, log_in


@pytest.fixture(autouse=True)
def _environment(settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def command(arguments: list[str]) -> int:
    if database.obj:
        database.close()  # the command takes the place of the service's own connection
    return commands.admin(arguments)


def test_an_account_becomes_admin(client: Client, register: Register, capsys: pytest.CaptureFixture[str]) -> None:
    user_id = register()["user"]["id"]
    assert command(["ANN@example.org"]) == 0
    assert "ann@example.org is an admin now" in (told := capsys.readouterr().out)
    assert "never verified" in told
    assert log_in(client).json["data"]["user"]["role"] == "admin"
    assert facts("user.role_changed") == [("user.role_changed", user_id)]
    event = AuditEvent.get(AuditEvent.kind == "role_changed")
    assert (event.user_id, event.actor_id) == (user_id, None)
    assert Fact.get(Fact.type == "user.role_changed").data == '{"role":"admin","actorId":null}'


def test_saying_it_twice_changes_nothing(
    client: Client, register: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    register()
    assert command(["ann@example.org"]) == command(["ann@example.org"]) == 0
    assert "is an admin already" in capsys.readouterr().out
    assert len(facts("user.role_changed")) == 1


def test_an_operator_verifies_the_address_of_an_admin_where_that_is_required(
    client: Client, register: Register, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    User.update(role="admin").execute()
    monkeypatch.setenv("EMAIL_VERIFICATION", "required")
    assert command(["ann@example.org"]) == 0
    assert "is verified by your word" in capsys.readouterr().out
    assert User.get().email_verified
    assert command(["ann@example.org"]) == 0
    assert "is an admin already" in capsys.readouterr().out


def test_a_suspended_account_comes_back_as_admin(client: Client, register: Register) -> None:
    register()
    User.update(status="suspended", role="admin").execute()
    assert command(["ann@example.org"]) == 0
    assert log_in(client).json["data"]["user"]["role"] == "admin"


def test_without_an_account_one_is_made(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["root@example.org"]) == 0
    password = re.findall(r"password (\S+)", capsys.readouterr().out)[0]
    user = log_in(client, "root@example.org", password).json["data"]["user"]
    assert (user["role"], user["emailVerified"]) == ("admin", True)


@pytest.mark.parametrize("arguments", [[], [""], ["nobody"], ["a@example.org", "b@example.org"]])
def test_a_wrong_command_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command(arguments) == 2
    assert "make admin EMAIL=" in capsys.readouterr().err


@pytest.mark.parametrize("name, value", [("LOG_LEVEL", "loud"), ("AUTH_DATABASE_URL", "postgresql://x@127.0.0.1:1/x")])
def test_wrong_settings_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: Any
) -> None:
    monkeypatch.setenv(name, value)
    assert command(["ann@example.org"]) == 2
    assert name in capsys.readouterr().err
