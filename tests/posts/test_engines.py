"""Odd texts in posts, tags, categories and comments, on both engines."""

from pathlib import Path
from typing import Any

from services.posts.app import create_app
from services.posts.config import Config
from services.posts.models import database
from shared.identity.jwks import Jwks
from tests.engines import ODD_TEXTS, as_json, assert_same_answers, engine_urls, outcome
from tests.posts.conftest import AsUser

__all__ = ["engine_urls"]


def ask(client: Any, headers: dict[str, str], text: str) -> list[Any]:
    """Write and find a post with the text everywhere, and take its tags off again."""
    answers: list[Any] = []

    def call(method: str, path: str, json: Any = None, **sent: Any) -> Any:
        if json is not None:
            sent |= as_json(json)
        answer = client.open(path, method=method, headers=headers, **sent)
        answers.append(((text, method, len(answers)), outcome(answer)))
        return answer

    post = {"title": f"T {text}", "content": f"{text} content {text}", "status": "published", "excerpt": text[:40]}
    bare = call("POST", "/api/posts", json=post)
    tagged = call("POST", "/api/posts", json=post | {"tags": [text, text.upper(), text.lower()]})
    for created in (bare, tagged):
        if created.status_code == 201:
            data = created.json["data"]
            path = f"/api/posts/{data['id']}"
            call("GET", f"/api/posts/{data['slug']}")
            call("PUT", path, json=post | {"tags": ["other"]})
            call("PUT", path, json=post | {"tags": [text]})
            call("PATCH", path, json={"status": "draft"})
            call("PATCH", path, json={"status": "published"})
            call("PATCH", path, json={"tags": []})
            call("POST", f"{path}/comments", json={"content": text})
    call("POST", "/api/categories", json={"name": text})
    sent = text.encode("utf-8", "replace").decode()
    for query in ({"q": sent}, {"tag": sent}, {"author": sent}, {"q": sent, "highlight": "true"}, {"category": sent}):
        call("GET", "/api/posts", query_string=query | {"limit": "100"})
    return answers


def run(url: str, folder: Path, jwks: Jwks, as_user: AsUser) -> list[Any]:
    settings = {"APP_ENV": "test", "DATA_DIR": str(folder), "POSTS_DATABASE_URL": url, "LOG_LEVEL": "error"}
    client = create_app(Config.load(settings | {"RATELIMIT_ENABLED": "false"}), lambda: jwks).test_client()
    try:
        headers = as_user("Ann", "moderator")
        answers = [answer for text in ODD_TEXTS for answer in ask(client, headers, text)]
        for sort in ("title", "newest", "oldest"):
            found = client.get(f"/api/posts?sort={sort}&limit=100")
            answers.append(((sort,), outcome(found)))
        answers.append((("tags",), outcome(client.get("/api/tags?limit=100"))))
        found_categories: Any = client.get("/api/categories?limit=100").json
        names = sorted(category["name"] for category in found_categories["data"])  # the ends of slugs are random
        answers.append((("categories",), (200, names)))
        return answers
    finally:
        database.close()


def test_both_engines_answer_alike(engine_urls: dict[str, str], tmp_path: Path, jwks: Jwks, as_user: AsUser) -> None:
    assert_same_answers(engine_urls, lambda url: run(url, tmp_path, jwks, as_user))
