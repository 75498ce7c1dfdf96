"""What admins do reaches every process."""

import subprocess
import sys
from typing import Any

import orjson
import pytest

from tests.e2e.stack import OWN_PATHS, ROOT, Stack
from tests.waiting import assert_within, wait_until


def log_in(stack: Stack, email: str) -> dict[str, Any]:
    status, answer = stack.post("/api/auth/login", {"email": email, "password": "a long secret"})
    assert status == 200, answer
    signin: dict[str, Any] = answer["data"]
    return signin


@pytest.fixture(scope="module")
def admin(stack: Stack) -> str:
    """Return the token of an admin, made as an operator makes the first one, while everything runs."""
    email = stack.register("Root")["user"]["email"]
    command = [sys.executable, "-m", "services", "admin", email]
    done = subprocess.run(command, cwd=ROOT, env=stack.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(log_in(stack, email)["accessToken"])


def refused(stack: Stack, token: str) -> list[str]:
    """Return the services where the token has ended."""
    answers = {service: stack.get(path, token, service) for service, path in OWN_PATHS.items()}
    assert {status for status, _ in answers.values()} <= {200, 401}
    return [service for service, (status, body) in answers.items() if status == 401 and body["code"] == "TOKEN_REVOKED"]


@pytest.mark.parametrize("change", [{"status": "suspended"}, {"role": "moderator"}, None])
def test_a_suspended_changed_or_deleted_user_is_out_everywhere(
    stack: Stack, admin: str, change: dict[str, str] | None
) -> None:
    def put_out() -> float:
        account = stack.register()
        token, user_id = account["accessToken"], account["user"]["id"]
        assert refused(stack, token) == []
        path = f"/api/admin/users/{user_id}" if change else f"/api/users/{user_id}"
        answer = stack.request("PATCH" if change else "DELETE", path, change, admin)
        assert answer.status == (200 if change else 204), answer.data
        return wait_until(lambda: refused(stack, token) == list(OWN_PATHS))

    assert_within(2, put_out)


def test_a_new_role_counts_with_the_next_token(stack: Stack, admin: str) -> None:
    account = stack.register()
    users = stack.request("GET", "/api/admin/users", token=account["accessToken"])
    assert users.status == 403
    answer = stack.request("PATCH", f"/api/admin/users/{account['user']['id']}", {"role": "admin"}, admin)
    assert answer.status == 200
    token = log_in(stack, account["user"]["email"])["accessToken"]
    assert stack.get(f"/api/admin/users?search={account['user']['email']}", token)[1]["pagination"]["total"] == 1


def test_the_audit_knows_the_request_and_the_address(stack: Stack, admin: str) -> None:
    email = stack.register()["user"]["email"]
    body = {"email": email, "password": "a wrong secret"}
    answer = stack.request(
        "POST", "/api/auth/login", body, X_Request_ID="from-the-client", X_Forwarded_For="203.0.113.1"
    )
    assert answer.status == 401
    event = stack.get("/api/admin/audit?kind=login_failed&limit=1", admin)[1]["data"][0]
    assert (event["requestId"], event["address"]) == (orjson.loads(answer.data)["requestId"], "127.0.0.1")
