"""From a mail to an account that works: over the running product, as a person without a front end does it."""

import re
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from urllib.parse import urlencode

import pytest
import urllib3

from tests.e2e.stack import Stack
from tests.waiting import wait_until

EMAIL = "ann@example.com"
OLD, NEW = "a long secret", "quite another secret"


@pytest.fixture
def strict_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An installation that wants addresses verified."""
    running = Stack(tmp_path_factory.mktemp("strict"), EMAIL_VERIFICATION="required")
    running.environment["PUBLIC_URL"] = running.url
    running.start()
    yield running
    running.stop()


def mails(stack: Stack, subject: str) -> list[str]:
    folder = Path(stack.environment["DATA_DIR"]) / "mail"
    found = [message_from_bytes(path.read_bytes(), policy=policy.default) for path in sorted(folder.glob("*.eml"))]
    return [mail.get_content() for mail in found if (mail["Subject"], mail["To"]) == (subject, EMAIL)]


def mailed_link(stack: Stack, subject: str) -> str:
    """Wait for the mail and return the path and query of the link in it."""
    wait_until(lambda: mails(stack, subject))
    found = re.search(rf"^{re.escape(stack.url)}(/\S+)", mails(stack, subject)[-1], re.MULTILINE)
    assert found
    return found[1]


def submit(stack: Stack, path: str, page: str, **fields: str) -> urllib3.BaseHTTPResponse:
    """Fill in the form of the page as a browser does."""
    token = re.search(r'name="token" value="([^"]+)"', page)
    assert token
    body = urlencode({"token": token[1], **fields}).encode()
    return stack.request("POST", path, body, Content_Type="application/x-www-form-urlencoded")


def login(stack: Stack, password: str) -> int:
    return stack.post("/api/auth/login", {"email": EMAIL, "password": password})[0]


def test_a_mailed_link_opens_the_account_and_another_sets_the_password(strict_stack: Stack) -> None:
    stack = strict_stack
    status, answer = stack.post("/api/auth/register", {"name": "Ann", "email": EMAIL, "password": OLD})
    assert (status, answer["data"].keys()) == (201, {"user"})
    assert login(stack, OLD) == 403

    link = mailed_link(stack, "Confirm your email address")
    assert link in stack.log.read_text()
    page = stack.request("GET", link)
    assert page.status == 200
    assert login(stack, OLD) == 403
    assert submit(stack, "/verify-email", page.data.decode()).status == 200
    assert submit(stack, "/verify-email", page.data.decode()).status == 403
    status, session = stack.post("/api/auth/login", {"email": EMAIL, "password": OLD})
    assert status == 200

    assert stack.post("/api/auth/forgot-password", {"email": EMAIL})[0] == 202
    page = stack.request("GET", mailed_link(stack, "Set a new password"))
    assert submit(stack, "/reset-password", page.data.decode(), password="password123").status == 400
    assert submit(stack, "/reset-password", page.data.decode(), password=NEW).status == 200
    assert (login(stack, OLD), login(stack, NEW)) == (401, 200)
    token = session["data"]["accessToken"]
    wait_until(lambda: stack.get("/api/uploads", token, "uploads")[0] == 401)
    wait_until(lambda: mails(stack, "Your password was changed"))
