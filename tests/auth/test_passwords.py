"""Which passwords are refused."""

import time

import pytest

from services.auth import passwords
from services.auth.models import User
from shared.problems import Problem
from tests.auth.conftest import Client, Register, account, log_in
from tests.conftest import on_sqlite
from tests.helpers import assert_problem
from tests.waiting import wait_until


@pytest.mark.parametrize(
    "password",
    [
        "password", "PassWord", "12345678", "1234567890", "qwertyuiop", "iloveyou", "1q2w3e4r", "football", "Sunshine1",
        "trustno1", "P@ssw0rd", "letmein1", "11111111", "qwerty123", "1QAZ2WSX", "пароль123", "summer2020",
    ],
)  # fmt: skip
def test_common_passwords_are_refused(password: str) -> None:
    with pytest.raises(Problem) as refused:
        passwords.check_new(password, "Ann", "ann@example.org")
    assert refused.value.errors
    assert list(refused.value.errors) == ["password"]


@pytest.mark.parametrize(
    "password", ["Ann Example-Name", "ann EXAMPLE-name", " ann example-name ", "Ann.Local@Example.org", "ANN.LOCAL"]
)
def test_what_the_account_gives_away_is_refused(password: str) -> None:
    with pytest.raises(Problem, match="VALIDATION_ERROR"):
        passwords.check_new(password, "Ann Example-Name", "ann.local@example.org")


@pytest.mark.parametrize(
    "password",
    ["correct horse battery", "ann.local2", "密码是很长的一句话", "zzz yyy 8", "# Written down from", "        "],
)
def test_others_are_taken_without_rules_of_composition(password: str) -> None:
    passwords.check_new(password, "Ann Example-Name", "ann.local@example.org")


def test_the_list_is_as_long_as_promised() -> None:
    common = passwords._common()
    assert len(common) >= 3000
    assert all(len(password) >= 8 and password == password.casefold() for password in common)


@on_sqlite
@pytest.mark.parametrize("password", ["password1", "ann@example.org", "ANN@example.org"])
def test_registration_refuses_them(client: Client, password: str) -> None:
    answer = client.post("/api/auth/register", json=account(password=password))
    assert list(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == ["password"]


def test_some_time_after_hashing_its_memory_is_given_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[None] = []
    monkeypatch.setattr(passwords, "KEEP_MEMORY", 0.1)
    monkeypatch.setattr(passwords, "return_freed_memory", lambda: freed.append(None))
    memory = passwords.FreedMemory()
    returned: list[None] = []
    give_back = memory._return

    def note() -> None:  # of this one: that of the service may have a timer of an earlier test
        give_back()
        returned.append(None)

    monkeypatch.setattr(memory, "_return", note)
    for number in (1, 2):
        for _ in range(3):
            memory.return_later()
        wait_until(lambda count=number: len(returned) == count)
        time.sleep(0.3)
        assert len(returned) == number <= len(freed)


def test_a_password_is_one_however_a_keyboard_composes_it(client: Client) -> None:
    composed, decomposed = "Gr\u00fc\u00dfe aus K\u00f6ln", "Gru\u0308\u00dfe aus Ko\u0308ln"
    for number, (made, typed) in enumerate([(composed, decomposed), (decomposed, composed)]):
        email = f"n{number}@example.org"
        assert client.post("/api/auth/register", json=account(email=email, password=made)).status_code == 201
        assert log_in(client, email, typed).status_code == 200
        assert log_in(client, email, made).status_code == 200


def test_a_password_is_measured_in_its_one_form(client: Client) -> None:
    answer = client.post("/api/auth/register", json=account(password="u\u0308" * 128))
    assert answer.status_code == 201
    answer = client.post("/api/auth/register", json=account(email="b@example.org", password="u\u0308" * 7))
    assert list(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == ["password"]


def test_a_long_password_is_refused_before_it_is_normalised(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.auth.schemas.normal", lambda text: pytest.fail("read"))
    answer = client.post("/api/auth/register", json=account(password="\u0315\u0300" * 257))
    assert list(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == ["password"]


def test_a_hash_of_the_form_as_typed_is_renewed(client: Client, register: Register) -> None:
    typed = "Gru\u0308\u00dfe aus Ko\u0308ln"
    register()
    User.update(password_hash=passwords.hasher.hash(typed)).execute()
    assert_problem(log_in(client, password=passwords.normal(typed)), 401, "INVALID_CREDENTIALS")
    assert log_in(client, password=typed).status_code == 200
    assert log_in(client, password=passwords.normal(typed)).status_code == 200


@pytest.mark.parametrize("password", ["plain secret", "decomposed u\u0308"])
def test_an_unknown_address_costs_as_many_hashes_as_a_wrong_password(
    client: Client, register: Register, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    register()
    verified: list[str] = []
    verify = passwords._verify

    def note(password_hash: str, password: str) -> bool:
        verified.append(password)
        return verify(password_hash, password)

    monkeypatch.setattr(passwords, "_verify", note)
    log_in(client, password=password)
    known, verified[:] = list(verified), []
    log_in(client, "nobody@example.org", password)
    assert known == verified
