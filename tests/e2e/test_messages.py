"""What reaches people, over the running product: notifications and contact messages, also on bad days."""

import os
import random
import signal
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import urllib3

from tests.e2e.stack import Stack
from tests.e2e.test_bad_days import masters
from tests.smtp_server import SmtpServer
from tests.waiting import wait_until

RESTARTS = 10
FORM = "application/x-www-form-urlencoded"


def told(stack: Stack, token: str) -> list[dict[str, Any]]:
    """Return all that a user is told, walked by cursor."""
    found: list[dict[str, Any]] = []
    query = "limit=100"
    while query:
        answer = stack.get(f"/api/notifications?{query}", token)[1]
        found += answer["data"]
        cursor = answer["pagination"]["nextCursor"]
        query = f"limit=100&cursor={cursor}" if cursor else ""
    return found


def comment(stack: Stack, post: str, token: str, parent: str | None = None) -> str:
    status, answer = stack.post(f"/api/posts/{post}/comments", {"content": "Well said.", "parentId": parent}, token)
    assert status == 201, answer
    return str(answer["data"]["id"])


def test_what_happens_reaches_whom_it_concerns(stack: Stack) -> None:
    ann, bob = stack.register("Ann"), stack.register("Bob")
    tokens = [account["accessToken"] for account in (ann, bob)]
    wait_until(lambda: [[item["type"] for item in told(stack, token)] for token in tokens] == [["welcome"]] * 2)
    post = stack.publish(tokens[0], "The lantern")
    first = comment(stack, post["id"], tokens[1])
    reply = comment(stack, post["id"], tokens[0], first)
    assert stack.request("PUT", f"/api/posts/{post['id']}/like", token=tokens[1]).status == 200
    wait_until(lambda: (len(told(stack, tokens[0])), len(told(stack, tokens[1]))) == (3, 2))
    like, comment_told, _ = told(stack, tokens[0])
    assert (like["type"], like["likes"], like["actor"]["name"]) == ("like", 1, "Bob")
    assert (comment_told["type"], comment_told["commentId"]) == ("comment", first)
    assert comment_told["post"] == {"id": post["id"], "title": "The lantern"}
    reply_told = told(stack, tokens[1])[0]
    assert (reply_told["type"], reply_told["commentId"]) == ("reply", reply)
    assert stack.request("PATCH", f"/api/notifications/{like['id']}", {"read": True}, tokens[0]).status == 200
    assert stack.get("/api/notifications", tokens[0])[1]["unread"] == 2
    assert stack.request("POST", "/api/notifications/read-all", token=tokens[0]).status == 204
    assert stack.get("/api/notifications", tokens[0])[1]["unread"] == 0
    assert stack.request("DELETE", f"/api/posts/{post['id']}", token=tokens[0]).status == 204
    wait_until(lambda: [item["type"] for item in told(stack, tokens[0])] == ["welcome"])


def test_a_deleted_user_is_told_of_no_more(stack: Stack) -> None:
    ann, bob = stack.register("Ann"), stack.register("Bob")
    post = stack.publish(ann["accessToken"])
    comment(stack, post["id"], bob["accessToken"])
    wait_until(lambda: len(told(stack, ann["accessToken"])) == 2)
    answer = stack.request("DELETE", "/api/auth/me", {"password": "a long secret"}, bob["accessToken"])
    assert answer.status == 204, answer.data
    wait_until(lambda: len(told(stack, ann["accessToken"])) == 1)


class Commenter(threading.Thread):
    """Comment on a post again and again; each comment is repeated under its key until it is acknowledged."""

    def __init__(self, stack: Stack, post: str, token: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self._stack = stack
        self._path = f"/api/posts/{post}/comments"
        self._token = token
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            wait_until(self._write)

    def _write(self) -> bool:
        body, key = {"content": "Well said."}, f"comment-{len(self.acknowledged)}"
        try:
            answer = self._stack.request("POST", self._path, body, self._token, Idempotency_Key=key)
        except urllib3.exceptions.HTTPError:
            return False
        if answer.status == 201:
            self.acknowledged.append(orjson.loads(answer.data)["data"]["id"])
        return answer.status == 201

    def finish(self) -> None:
        self._stopping.set()
        self.join(60)
        assert not self.is_alive()


def test_every_fact_is_told_once_however_often_processes_are_killed(own_stack: Stack) -> None:
    stack, ann = own_stack, own_stack.register("Ann")
    post = stack.publish(ann["accessToken"])["id"]
    commenter = Commenter(stack, post, stack.register("Bob")["accessToken"])
    commenter.start()
    dice = random.Random(7)
    for number in range(RESTARTS):
        victim = ("messages", "posts")[number % 2]
        seen = len(commenter.acknowledged)
        wait_until(lambda seen=seen: len(commenter.acknowledged) > seen + dice.randrange(3, 15))
        wait_until(lambda victim=victim: victim in masters(stack))
        os.kill(masters(stack)[victim], signal.SIGKILL)
    commenter.finish()
    written = sorted(commenter.acknowledged)
    assert len(written) > RESTARTS

    def comments() -> list[str]:
        return sorted(item["commentId"] for item in told(stack, ann["accessToken"]) if item["type"] == "comment")

    wait_until(lambda: stack.healthy() and len(comments()) >= len(written))
    assert comments() == written
    assert [item["type"] for item in told(stack, ann["accessToken"])].count("welcome") == 1


@pytest.fixture
def mail_server() -> Iterator[SmtpServer]:
    server = SmtpServer()
    yield server
    server.close()


def test_a_contact_message_is_mailed_though_the_service_was_killed(
    tmp_path_factory: pytest.TempPathFactory, mail_server: SmtpServer
) -> None:
    settings = {"EMAIL_URL": mail_server.url, "CONTACT_TO": "Owner <owner@example.org>"}
    stack = Stack(tmp_path_factory.mktemp("contact"), **settings)
    stack.start()
    try:
        fields = {"name": "Zoë", "email": "zoe@example.org", "subject": "A question", "message": "How do I begin?"}
        body = urlencode(fields | {"_next": "/thanks", "website": ""}).encode()
        answer = stack.request("POST", "/api/contact?source=home", body, Content_Type=FORM, Accept="text/html")
        os.kill(masters(stack)["messages"], signal.SIGKILL)
        assert (answer.status, answer.headers["Location"]) == (303, "/thanks")
        assert answer.headers["X-Contact-Processed"] == "true"
        wait_until(lambda: mail_server.mails)
        (mail,) = mail_server.mails
        assert (mail.recipient, mail.message["Subject"]) == ("owner@example.org", "Contact: A question")
        assert "Zoë <zoe@example.org>" in mail.text
        assert "Source: home" in mail.text
    finally:
        stack.stop()
