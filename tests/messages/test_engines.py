"""Odd texts in contact messages, on both engines."""

from pathlib import Path
from typing import Any

from services.messages.app import create_app
from services.messages.config import Config
from services.messages.models import database
from shared.identity.jwks import Jwks
from tests.engines import ODD_TEXTS, as_json, assert_same_answers, engine_urls, outcome
from tests.messages.conftest import AsUser

__all__ = ["engine_urls"]


def run(url: str, folder: Path, jwks: Jwks, as_user: AsUser) -> list[Any]:
    settings = {"APP_ENV": "test", "DATA_DIR": str(folder), "MESSAGES_DATABASE_URL": url, "LOG_LEVEL": "error"}
    client = create_app(Config.load(settings | {"RATELIMIT_ENABLED": "false"}), lambda: jwks).test_client()
    answers: list[Any] = []
    try:
        for text in ODD_TEXTS:
            written = {"name": text, "email": "a@example.org", "subject": f"{text} subject", "message": text * 10}
            source = text.encode("utf-8", "replace").decode()
            for body in (written, written | {"name": "Ann", "email": f"{text}@example.org"}):
                agent = {"User-Agent": source.encode().decode("latin-1").translate(dict.fromkeys(range(32)))}
                answer = client.post("/api/contact", query_string={"source": source}, headers=agent, **as_json(body))
                answers.append((text, outcome(answer)))
        found = client.get("/api/admin/contact?limit=100", headers=as_user(role="moderator"))
        answers.append(("all", outcome(found)))
        return answers
    finally:
        database.close()


def test_both_engines_answer_alike(engine_urls: dict[str, str], tmp_path: Path, jwks: Jwks, as_user: AsUser) -> None:
    assert_same_answers(engine_urls, lambda url: run(url, tmp_path, jwks, as_user))
