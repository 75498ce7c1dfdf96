"""Which passwords are refused."""

import time

import pytest

from services.auth import passwords
from shared.problems import Problem
from tests.auth.conftest import Client, account
from tests.helpers import assert_problem

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


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
    given_back: list[float] = []
    freed: list[None] = []
    monkeypatch.setattr(passwords, "KEEP_MEMORY", 0.3)
    monkeypatch.setattr(passwords, "return_freed_memory", lambda: freed.append(None))
    queue = passwords.Queue(2, 2)
    give_back = queue._give_back

    def note() -> None:  # of this queue: the one that all share may have a timer of an earlier test
        given_back.append(time.monotonic())
        give_back()

    monkeypatch.setattr(queue, "_give_back", note)
    for number in (1, 2):
        began = time.monotonic()
        for _ in range(3):
            with queue:
                pass
        while len(given_back) < number:
            assert time.monotonic() < began + 5
            time.sleep(0.01)
        assert given_back[-1] - began >= 0.3
        time.sleep(0.5)
        assert len(given_back) == number <= len(freed)
