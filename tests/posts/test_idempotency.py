import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from services.posts.models import Fact, Post
from tests.posts.conftest import Client, Headers, Write, at_once, body, refused

URL = "/api/posts"
ROOT = Path(__file__).parents[2]
# Dies when the post and its fact are written but nothing is committed.
DYING = """
import os, sys, json
from services.posts import posts
from services.posts.app import create_app
from services.posts.config import Config
settings, jwks, headers, body = json.loads(sys.argv[1])
tell = posts.feed.publish
posts.feed.publish = lambda *fact: (tell(*fact), os._exit(9))
create_app(Config.load(settings), lambda: jwks).test_client().post("/api/posts", json=body, headers=headers)
"""


@pytest.fixture
def keyed(ann: Headers) -> Headers:
    return ann | {"Idempotency-Key": "8e03978e-40d5-43e8-bc93-6894a57f9324"}


def test_the_same_key_and_body_give_the_first_answer_again(client: Client, keyed: Headers) -> None:
    first = client.post(URL, json=body(), headers=keyed)
    client.patch(first.headers["Location"], json={"title": "Changed since"}, headers=keyed)
    again = client.post(URL, json=body(), headers=keyed)
    assert (again.status_code, again.data) == (201, first.data)
    for name in ("Location", "ETag", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert (Post.select().count(), Fact.select().where(Fact.type == "post.published").count()) == (1, 1)


def test_another_body_under_the_same_key_is_refused(client: Client, keyed: Headers) -> None:
    client.post(URL, json=body(), headers=keyed)
    refused(client.post(URL, json=body(title="Another"), headers=keyed), 422, "IDEMPOTENCY_KEY_REUSED")
    assert Post.select().count() == 1


def test_a_key_is_its_users_own(client: Client, keyed: Headers, bob: Headers) -> None:
    client.post(URL, json=body(), headers=keyed)
    answer = client.post(URL, json=body(title="Bob's"), headers=keyed | bob)
    assert (answer.status_code, answer.json["data"]["title"]) == (201, "Bob's")


def test_a_refused_body_leaves_the_key_free(client: Client, keyed: Headers) -> None:
    refused(client.post(URL, json=body(title=""), headers=keyed), 400, "VALIDATION_ERROR", "title")
    assert client.post(URL, json=body(), headers=keyed).status_code == 201


def test_one_key_sent_twice_at_once_writes_one_post(app: Flask, client: Client, keyed: Headers) -> None:
    def post() -> Any:
        return app.test_client().post(URL, json=body(), headers=keyed)

    answers = at_once(*[post] * 6)
    created = {answer.data for answer in answers if answer.status_code == 201}
    assert len(created) == 1
    for answer in answers:
        if answer.status_code != 201:
            refused(answer, 409, "CONFLICT")
    assert client.get(URL).json["pagination"]["total"] == Post.select().count() == 1
    assert created == {client.post(URL, json=body(), headers=keyed).data}


def test_a_process_killed_before_the_commit_has_written_nothing(
    app: Flask, client: Client, settings: dict[str, str], jwks: Any, keyed: Headers, write: Write
) -> None:
    write(title="Before")
    arguments = app.json.dumps([settings, jwks, keyed, body()])
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    died = subprocess.run([sys.executable, "-c", DYING, arguments], env=environment, check=False, timeout=60)
    assert died.returncode == 9
    assert [post["title"] for post in client.get(URL).json["data"]] == ["Before"]
    answer = client.post(URL, json=body(), headers=keyed)
    assert answer.status_code == 201
    assert "Idempotency-Replayed" not in answer.headers
    assert (Post.select().count(), Fact.select().count()) == (2, 2)
    assert client.get(URL).json["pagination"]["total"] == 2
