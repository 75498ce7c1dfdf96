"""Odd texts in names, addresses, passwords and searches, on both engines."""

from pathlib import Path
from typing import Any

from services.auth.app import create_app
from services.auth.config import Config
from services.auth.models import User, database
from tests.auth.conftest import PASSWORD, account, bearer, log_in
from tests.engines import ODD_TEXTS, as_json, assert_same_answers, engine_urls, outcome

__all__ = ["engine_urls"]


def ask(client: Any, admin: dict[str, str], number: int, text: str) -> list[Any]:
    """Make an account with the text in all its fields, change it, and look for it."""
    answers: list[Any] = []

    def call(method: str, path: str, json: Any = None, **sent: Any) -> Any:
        answer = client.open(path, method=method, **(as_json(json) if json else {}), **sent)
        answers.append(((text, method, len(answers)), outcome(answer)))
        return answer

    email = f"someone{number}@example.org"
    call("POST", "/api/auth/register", account(name=text, email=f"{text}@example.org"))
    call("POST", "/api/auth/register", account(email=f"x@{text}.example"))
    call("POST", "/api/auth/login", {"email": text, "password": text})
    call("POST", "/api/auth/forgot-password", {"email": f"{text}@example.org"})
    made = call("POST", "/api/auth/register", account(email=email, password=f"{text} and more"))
    call("POST", "/api/auth/login", {"email": email, "password": f"{text} and more"}, headers={"User-Agent": "x"})
    if made.status_code == 201:
        own = {"headers": bearer(made.json["data"])}
        call("PATCH", "/api/auth/me", {"name": text, "bio": text}, **own)
        path = f"/api/admin/users/{made.json['data']['user']['id']}"
        call("PATCH", path, {"status": "suspended", "reason": text}, headers=admin)
    sent = text.encode("utf-8", "replace").decode()
    call("GET", "/api/admin/users", query_string={"search": sent, "limit": "100"}, headers=admin)
    call("POST", "/api/auth/verify-email", {"token": text})
    return answers


def run(url: str, folder: Path) -> list[Any]:
    settings = {"APP_ENV": "test", "DATA_DIR": str(folder), "AUTH_DATABASE_URL": url, "LOG_LEVEL": "error"}
    client = create_app(Config.load(settings | {"RATELIMIT_ENABLED": "false"})).test_client()
    try:
        client.post("/api/auth/register", json=account(email="root@example.org"))
        User.update(role="admin", email_verified=True).execute()
        admin = bearer(log_in(client, "root@example.org", PASSWORD).json["data"])
        answers = [answer for number, text in enumerate(ODD_TEXTS) for answer in ask(client, admin, number, text)]
        for sort in ("name", "newest", "oldest"):
            found = client.get(f"/api/users?sort={sort}&limit=100", headers=admin)
            answers.append(((sort,), outcome(found)))
        return answers
    finally:
        database.close()


def test_both_engines_answer_alike(engine_urls: dict[str, str], tmp_path: Path) -> None:
    assert_same_answers(engine_urls, lambda url: run(url, tmp_path))
