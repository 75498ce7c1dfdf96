"""Messages to the owner: kept and mailed together, by everybody, read by moderators."""

import threading
from typing import Any
from urllib.parse import urlencode

import peewee
import pytest
from flask import Flask

from services.messages.config import Config
from services.messages.models import ContactMessage, Mail, database, outbox
from shared.ids import is_id
from shared.mail.outbox import MailWorker
from shared.mail.smtp import SmtpTransport
from shared.service import service_of
from tests.conftest import FrozenClock, on_sqlite
from tests.helpers import NOBODY, assert_problem
from tests.messages.conftest import AsUser, Client, Headers
from tests.smtp_server import SmtpServer

FORM = "application/x-www-form-urlencoded"
PAGE = {"Accept": "text/html"}


def written(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Zoë",
        "email": "zoe@example.org",
        "subject": "A question",
        "message": "How do I begin?\nThank you!",
    } | changes


def send(client: Client, **changes: Any) -> Any:
    return client.post("/api/contact?source=pricing", json=written(**changes), headers={"User-Agent": "Browser/1"})


def kept() -> tuple[int, int]:
    return ContactMessage.select().count(), Mail.select().count()


def test_a_message_is_kept_and_mailed_with_where_it_came_from(client: Client, app: Flask) -> None:
    answer = send(client)
    assert answer.status_code == 201, answer.text
    assert list(answer.json["data"]) == ["id"]
    assert answer.headers["X-Contact-Processed"] == "true"
    assert answer.headers.getlist("Set-Cookie") == ["contact-sent=true; HttpOnly; Path=/"]
    message = ContactMessage.get_by_id(answer.json["data"]["id"])
    assert (message.name, message.source, message.user_agent) == ("Zoë", "pricing", "Browser/1")
    server = SmtpServer()
    config: Config = service_of(app).get(Config)
    assert MailWorker(outbox, SmtpTransport(server.url), config.mail_from).send_due() == 1
    server.close()
    (mail,) = server.mails
    assert (mail.recipient, mail.message["Subject"]) == ("owner@localhost", "Contact: A question")
    assert mail.message["Reply-To"] == "zoe@example.org"
    for said in ("Zoë <zoe@example.org>", "How do I begin?\nThank you!", "pricing", "Browser/1", message.id):
        assert said in mail.text


def test_a_mail_server_that_is_away_loses_nothing(client: Client, app: Flask, frozen_clock: FrozenClock) -> None:
    server = SmtpServer()
    config: Config = service_of(app).get(Config)
    worker = MailWorker(outbox, SmtpTransport(server.url), config.mail_from)
    server.replies["MAIL"] = "451 not now"
    send(client)
    assert worker.send_due() == 0
    frozen_clock.advance(days=2)
    del server.replies["MAIL"]
    assert worker.send_due() == 1
    server.close()
    assert [mail.message["Subject"] for mail in server.mails] == ["Contact: A question"]


def test_lines_of_a_form_are_kept_as_sent_and_mailed_as_lines(client: Client) -> None:
    send(client, message="one line\r\nanother\rand one")
    assert ContactMessage.get().message == "one line\r\nanother\rand one"
    assert "one line\nanother\nand one" in Mail.get().body


def test_no_mail_without_the_message_and_no_message_without_the_mail(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise peewee.OperationalError("the disk is away")

    monkeypatch.setattr(outbox, "write", fail)
    assert_problem(send(client), 503, "SERVICE_UNAVAILABLE")
    assert kept() == (0, 0)


BREAKS = ["\r", "\n", "\r\nBcc: x@example.org", "\x00", "\x1b", "\x85", "\u2028", "\u2029"]


@on_sqlite
@pytest.mark.parametrize("field", ["name", "email", "subject"])
@pytest.mark.parametrize("character", BREAKS)
def test_nothing_gets_into_the_head_of_a_mail(client: Client, field: str, character: str) -> None:
    value = written()[field]
    problem = assert_problem(send(client, **{field: value[:2] + character + value[2:]}), 400, "VALIDATION_ERROR")
    assert list(problem["errors"]) == [field]
    assert kept() == (0, 0)


@on_sqlite
@pytest.mark.parametrize(
    "field, value",
    [
        ("name", " a "), ("name", "a" * 101), ("name", None), ("name", 7), ("name", ["ab"]), ("email", "nobody"),
        ("email", "a@b"), ("email", "a@example.org, b@example.org"), ("subject", "abcd"), ("subject", "a" * 151),
        ("message", "  too short  "), ("message", "a" * 5001), ("message", "a\x00" * 10), ("more", "x" * 10),
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(client: Client, field: str, value: Any) -> None:
    problem = assert_problem(send(client, **{field: value}), 400, "VALIDATION_ERROR")
    assert list(problem["errors"]) == [field]


@on_sqlite
@pytest.mark.parametrize("query", ["source=a&source=b", "source=" + "x" * 101, "other=1", "source=%00"])
def test_a_query_that_is_none_is_refused(client: Client, query: str) -> None:
    assert_problem(client.post(f"/api/contact?{query}", json=written()), 400, "VALIDATION_ERROR")


def test_a_user_agent_may_be_any_bytes(client: Client) -> None:
    headers = {"User-Agent": "a\x85b\xff" + "x" * 300}
    assert client.post("/api/contact", json=written(), headers=headers).status_code == 201
    assert ContactMessage.get().user_agent == ("a bÿ" + "x" * 300)[:200]


@pytest.mark.parametrize("website", ["https://spam.example", {"a": 1}, "\x00", 5])
def test_a_robot_is_answered_as_everybody_and_nothing_is_kept(client: Client, website: Any) -> None:
    person, robot = send(client), send(client, website=website)
    assert kept() == (1, 1)
    assert (robot.status_code, list(robot.json["data"])) == (201, ["id"])
    assert is_id(robot.json["data"]["id"])
    drop = ("Date", "X-Request-ID")
    told = [[(k, v) for k, v in answer.headers if k not in drop] for answer in (person, robot)]
    assert told[0] == told[1]


@pytest.mark.parametrize("website", ["", None])
def test_an_empty_honeypot_is_nothing(client: Client, website: Any) -> None:
    assert send(client, website=website).status_code == 201
    assert kept() == (1, 1)


def test_a_form_without_script_leads_on(client: Client) -> None:
    body = urlencode(written(website="", _next="/thanks?x=1", _csrf=""))
    answer = client.post("/api/contact", data=body, content_type=FORM, headers=PAGE)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/thanks?x=1")
    assert answer.headers["X-Contact-Processed"] == "true"
    assert "contact-sent=true" in answer.headers["Set-Cookie"]
    assert kept() == (1, 1)


def test_a_bad_form_gets_a_page_with_the_messages(client: Client) -> None:
    answer = client.post("/api/contact", data=urlencode(written(name="x")), content_type=FORM, headers=PAGE)
    assert (answer.status_code, answer.content_type) == (400, "text/html; charset=utf-8")
    assert "name" in answer.text
    assert "contact-sent" not in answer.headers.get("Set-Cookie", "")


def test_the_longest_message_in_any_script_fits_through_the_gateway() -> None:
    from services.gateway.routes import FORM_LIMIT

    longest = written(name="𝔞" * 100, subject="𝔞" * 150, message="𝔞" * 5000, email="a" * 64 + "@" + "b" * 180 + ".org")
    assert len(urlencode(longest)) < FORM_LIMIT


def test_the_same_key_and_body_is_one_message(client: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    first, again = (client.post("/api/contact", json=written(), headers=headers) for _ in range(2))
    assert (again.status_code, again.data) == (201, first.data)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.headers["X-Contact-Processed"] == "true"
    assert "contact-sent=true" in again.headers["Set-Cookie"]
    assert kept() == (1, 1)


def test_racing_repetitions_are_one_message(app: Flask) -> None:
    headers, together, answers = {"Idempotency-Key": "k"}, threading.Barrier(6, timeout=30), []

    def post() -> None:
        together.wait()
        try:
            answers.append(app.test_client().post("/api/contact", json=written(), headers=headers))
        finally:
            database.close()

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.data for answer in answers if answer.status_code == 201}) == 1
    assert kept() == (1, 1)


def test_a_stranger_who_chose_the_same_key_is_another_one(client: Client) -> None:
    headers = {"Idempotency-Key": "k"}
    first = client.post("/api/contact", json=written(), headers=headers)
    other = client.post("/api/contact", json=written(name="Bob"), headers=headers)
    assert (first.status_code, other.status_code) == (201, 201)
    assert first.json["data"]["id"] != other.json["data"]["id"]
    assert kept() == (2, 2)


def test_moderators_list_by_status(client: Client, moderator: Headers) -> None:
    ids = [send(client, subject=f"Number {number}").json["data"]["id"] for number in range(3)]
    path = f"/api/admin/contact/{ids[1]}"
    assert client.patch(path, json={"status": "read"}, headers=moderator).status_code == 200
    listed = client.get("/api/admin/contact?limit=2", headers=moderator).json
    assert [item["id"] for item in listed["data"]] == [ids[2], ids[1]]
    assert listed["pagination"]["total"] == 3
    assert set(listed["data"][0]) == {
        "id", "name", "email", "subject", "message", "source", "userAgent", "status", "createdAt",
    }  # fmt: skip
    rest = client.get(f"/api/admin/contact?cursor={listed['pagination']['nextCursor']}", headers=moderator).json
    assert [item["id"] for item in rest["data"]] == [ids[0]]
    new = client.get("/api/admin/contact?status=new", headers=moderator).json
    assert [item["id"] for item in new["data"]] == [ids[2], ids[0]]
    assert_problem(client.get("/api/admin/contact?status=old", headers=moderator), 400, "VALIDATION_ERROR")


def test_only_moderators_read_what_strangers_wrote(client: Client, as_user: AsUser) -> None:
    path = f"/api/admin/contact/{send(client).json['data']['id']}"
    assert_problem(client.get("/api/admin/contact"), 401, "UNAUTHORIZED")
    assert_problem(client.get("/api/admin/contact", headers=as_user()), 403, "FORBIDDEN")
    assert_problem(client.patch(path, json={"status": "read"}, headers=as_user()), 403, "FORBIDDEN")
    assert client.get("/api/admin/contact", headers=as_user(role="admin")).status_code == 200


def test_two_moderators_do_not_undo_each_other(client: Client, moderator: Headers) -> None:
    path = f"/api/admin/contact/{send(client).json['data']['id']}"
    first = client.patch(path, json={"status": "read"}, headers=moderator)
    assert first.headers["ETag"].startswith('"2.')
    stale = client.patch(path, json={"status": "archived"}, headers=moderator | {"If-Match": '"1"'})
    assert list(assert_problem(stale, 412, "PRECONDITION_FAILED")["errors"]) == ["status"]
    fresh = client.patch(path, json={"status": "archived"}, headers=moderator | {"If-Match": first.headers["ETag"]})
    assert (fresh.status_code, fresh.json["data"]["status"]) == (200, "archived")


@pytest.mark.parametrize("path", [NOBODY, "1", "%00", "x" * 500])
def test_what_is_not_there_is_not_found(client: Client, moderator: Headers, path: str) -> None:
    assert_problem(
        client.patch(f"/api/admin/contact/{path}", json={"status": "read"}, headers=moderator), 404, "NOT_FOUND"
    )
