"""Live streams: who hears what, in which order, from where on, and when a stream ends."""

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from services.messages.live_events import event_log, sse_server
from services.messages.live_events.public_events import TOPICS
from services.messages.live_events.sse_server import SseServer
from services.messages.models import database
from shared.identity.access_tokens import Verifier
from shared.ids import new_id
from shared.service import service_of
from tests.conftest import FrozenClock, MakeToken
from tests.helpers import assert_problem
from tests.messages.conftest import AsUser, Client, Headers
from tests.messages.listening import Listener, Told, serving
from tests.waiting import wait_until

Listen = Callable[..., Listener]


@pytest.fixture
def port(app: Flask) -> Iterator[int]:
    with serving(app) as port:
        yield port


@pytest.fixture
def listen(port: int) -> Iterator[Listen]:
    """Open a stream, and take its greeting unless told otherwise."""
    opened: list[Listener] = []

    def open_stream(query: str = "", *, greeting: bool = True, **headers: str) -> Listener:
        opened.append(Listener(port, query, **headers))
        if greeting:
            assert opened[-1].status == 200, opened[-1].response.read()
            told = opened[-1].next()
            assert told
            assert told.topic == "connected"
        return opened[-1]

    yield open_stream
    for listener in opened:
        listener.close()


def append(number: int = 1, topic: str = "post.published", user_id: str | None = None, size: int = 0) -> list[str]:
    """Append events, each in a transaction of its own; return the ids of what they are about."""
    subjects = []
    for _ in range(number):
        subjects.append(new_id())
        with database.atomic():
            event_log.append(topic, {"type": topic, "id": subjects[-1], "text": "x" * size}, user_id=user_id)
    return subjects


def about(told: list[Told]) -> list[str]:
    return [event.data["id"] for event in told]


def hears(stream: Listener, subjects: list[str]) -> bool:
    return about(stream.take(len(subjects))) == subjects


def test_a_stream_begins_with_a_greeting_and_goes_on_with_what_happens(listen: Listen) -> None:
    append(3)
    stream = listen(greeting=False)
    headers = stream.response.headers
    assert headers.get_all("Content-Type") == ["text/event-stream"]
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-store, no-transform", "no")
    assert headers["X-Request-ID"]
    assert stream.next() == Told("3", "connected", {"type": "connected"})
    assert stream.retry == [sse_server.RETRY]
    (subject,) = append(topic="comment.created")
    expected = {"type": "comment.created", "id": subject, "text": ""}
    assert stream.next() == Told("4", "comment.created", expected)


@pytest.mark.parametrize("how", ["header", "query", "both"])
def test_whoever_comes_back_hears_what_was_missed_and_then_goes_on(listen: Listen, how: str) -> None:
    subjects = append(4)
    if how == "query":
        stream = listen("?lastEventId=2", greeting=False)
    else:
        stream = listen("?lastEventId=1" if how == "both" else "", greeting=False, Last_Event_ID="2")
    told = stream.take(3)
    assert [event.id for event in told] == ["2", "3", "4"]
    assert about(told[1:]) == subjects[2:]
    assert hears(stream, append(2))


def test_a_long_absence_is_told_in_order_and_once_while_more_happens(
    listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse_server, "PAGE", 7)
    listening = listen()
    subjects = append(60)
    late = listen("?lastEventId=0")
    subjects += append(60)
    assert about(listening.take(120)) == subjects
    assert about(late.take(120)) == subjects


@pytest.mark.parametrize("event_id", ["4", "999999999999999999", "9" * 40, "-1", "1.5", "x", "٣", "1 ", "%00"])
def test_whoever_comes_back_from_nowhere_is_told_to_begin_anew(listen: Listen, event_id: str) -> None:
    append(3)
    stream = listen(f"?lastEventId={event_id}".replace(" ", "%20").replace("٣", "%D9%A3"))
    assert stream.next() == Told("3", "resync", {"type": "resync"})
    assert hears(stream, append(1))


def test_what_is_older_than_seven_days_is_forgotten(listen: Listen, frozen_clock: FrozenClock) -> None:
    append(3)
    frozen_clock.advance(days=3)
    kept = append(2)
    frozen_clock.advance(days=4, seconds=1)
    event_log.prune()
    assert about(listen("?lastEventId=3").take(2)) == kept
    stream = listen("?lastEventId=2")
    assert stream.next() == Told("5", "resync", {"type": "resync"})
    frozen_clock.advance(days=8)
    event_log.prune()
    assert hears(listen("?lastEventId=5"), append(1))
    assert listen("?lastEventId=4").next() == Told("6", "resync", {"type": "resync"})


def test_topics_are_chosen(listen: Listen) -> None:
    some = listen("?topics=comment.created,%20post.deleted")
    append(1)
    deleted = append(1, "post.deleted") + append(1, "comment.created")
    assert about(some.take(2)) == deleted
    again = listen("?topics=comment.created&lastEventId=0")
    assert about(again.take(1)) == deleted[1:]


def test_without_names_every_event_is_a_message_that_says_what_it_is(listen: Listen, as_user: AsUser) -> None:
    user = new_id()
    stream = listen("?names=none&lastEventId=99", greeting=False, **as_user(user))
    named = listen(**as_user(user))
    (public,), (own,) = append(1), append(1, "notification", user)
    (later,) = append(1)
    told = [(event.topic, event.data["topic"], event.data["type"], event.data.get("id")) for event in stream.take(5)]
    assert told == [
        ("message", "connected", "connected", None),
        ("message", "resync", "resync", None),
        ("message", "post.published", "post.published", public),
        ("message", "notification", "notification", own),
        ("message", "post.published", "post.published", later),
    ]
    assert all("topic" not in event.data for event in named.take(3))
    again = listen("?names=none&lastEventId=0", greeting=False, **as_user(user))
    assert [event.data["topic"] for event in again.take(4)][1:] == ["post.published", "notification", "post.published"]


@pytest.mark.parametrize(
    "query", ["topics=post.liked", "topics=,", "topics=post.published,", "topics=a&topics=b", "x=1", "names=all"]
)
def test_an_unknown_topic_or_key_is_refused(client: Client, query: str) -> None:
    assert_problem(client.get(f"/api/events?{query}"), 400, "VALIDATION_ERROR")


def test_only_the_owner_hears_what_is_private(listen: Listen, as_user: AsUser) -> None:
    ann, ben = new_id(), new_id()
    streams_of = {name: listen(**as_user(name)) for name in (ann, ben)} | {"": listen()}
    append(1, "notification", "somebody else")
    anns = append(1, "notification", ann)
    public = append(1)
    assert about(streams_of[ann].take(2)) == anns + public
    assert about(streams_of[ben].take(1)) == public
    assert about(streams_of[""].take(1)) == public
    assert about(listen("?lastEventId=0", **as_user(ann)).take(2)) == anns + public
    assert about(listen("?lastEventId=0", **as_user(ben)).take(1)) == public
    assert about(listen("?lastEventId=0").take(1)) == public
    assert about(listen("?lastEventId=0&topics=notification", **as_user(ann)).take(1)) == anns


def test_a_stranger_has_no_notifications(client: Client) -> None:
    assert_problem(client.get("/api/events?topics=notification"), 401, "UNAUTHORIZED")


def test_a_bad_token_is_refused(client: Client) -> None:
    assert_problem(client.get("/api/events", headers={"Authorization": "Bearer x"}), 401, "UNAUTHORIZED")


def test_head_opens_no_stream(client: Client, app: Flask) -> None:
    answer = client.head("/api/events")
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "text/event-stream", b"")
    assert not service_of(app).get(SseServer)._counts


def test_a_stream_ends_with_its_token(listen: Listen, as_user: AsUser, frozen_clock: FrozenClock) -> None:
    stream, stranger = listen(**as_user()), listen()
    frozen_clock.advance(minutes=15)
    assert stream.rest() == []
    assert hears(stranger, append(1))


@pytest.mark.parametrize("by", ["bearer", "cookie", "ticket"])
def test_a_stream_ends_with_its_session(
    app: Flask, client: Client, listen: Listen, make_token: MakeToken, by: str
) -> None:
    session = new_id()
    token = make_token(sid=session)
    if by == "ticket":
        stream = listen(f"?ticket={get_ticket(client, {'Authorization': f'Bearer {token}'})}")
    else:
        stream = listen(**({"Cookie": f"authToken={token}"} if by == "cookie" else bearer(token)))
    other = listen(**bearer(make_token()))
    service_of(app).get(Verifier).revocations.end_session(session, time.time())
    assert stream.rest() == []
    assert hears(other, append(1))


def bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def get_ticket(client: Client, headers: Headers) -> str:
    answer = client.post("/api/events/ticket", headers=headers)
    assert answer.status_code == 200
    assert answer.json["data"]["expiresIn"] == 60
    assert "no-store" in answer.headers["Cache-Control"]
    return str(answer.json["data"]["ticket"])


def test_a_ticket_opens_one_stream_as_its_user(client: Client, listen: Listen, as_user: AsUser) -> None:
    ann = new_id()
    ticket = get_ticket(client, as_user(ann))
    stream = listen(f"?ticket={ticket}")
    assert hears(stream, append(1, "notification", ann))
    assert listen(f"?ticket={ticket}", greeting=False).status == 401


def test_a_ticket_is_good_for_a_minute(client: Client, as_user: AsUser, frozen_clock: FrozenClock) -> None:
    ticket = get_ticket(client, as_user())
    frozen_clock.advance(seconds=60)
    assert_problem(client.get(f"/api/events?ticket={ticket}"), 401, "UNAUTHORIZED")


def test_whoever_asks_for_a_ticket_has_nothing_to_say(client: Client, as_user: AsUser) -> None:
    assert client.post("/api/events/ticket", json={}, headers=as_user()).status_code == 200
    refused = client.post("/api/events/ticket", json={"user": "x"}, headers=as_user())
    assert assert_problem(refused, 400, "VALIDATION_ERROR")["errors"] == {"user": ["Unknown field."]}


@pytest.mark.parametrize("ticket", ["x", "%00", "%ED%A0%80", "x" * 5000])
def test_an_invented_ticket_is_refused(client: Client, ticket: str) -> None:
    answer = client.get(f"/api/events?ticket={ticket}")
    assert answer.status_code in (400, 401)
    assert_problem(answer, answer.status_code, answer.json["code"])


def test_a_ticket_and_a_token_of_somebody_else_are_refused(client: Client, as_user: AsUser) -> None:
    ticket = get_ticket(client, as_user())
    assert_problem(client.get(f"/api/events?ticket={ticket}", headers=as_user()), 401, "UNAUTHORIZED")


def test_a_ticket_of_an_ended_session_is_refused(app: Flask, client: Client, make_token: MakeToken) -> None:
    session = new_id()
    ticket = get_ticket(client, bearer(make_token(sid=session)))
    service_of(app).get(Verifier).revocations.end_session(session, time.time())
    assert_problem(client.get(f"/api/events?ticket={ticket}"), 401, "TOKEN_REVOKED")


def test_of_many_who_show_a_ticket_one_gets_in(client: Client, port: int, as_user: AsUser) -> None:
    ticket = get_ticket(client, as_user())
    raced = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(8)]
    for sock in raced:
        sock.sendall(f"GET /api/events?ticket={ticket} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert sorted(sock.recv(12) for sock in raced) == [b"HTTP/1.1 200"] + [b"HTTP/1.1 401"] * 7
    for sock in raced:
        sock.close()


def test_a_stranger_gets_no_ticket(client: Client) -> None:
    assert_problem(client.post("/api/events/ticket"), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("signed_in", [True, False])
def test_one_client_cannot_take_all_streams(
    listen: Listen, as_user: AsUser, monkeypatch: pytest.MonkeyPatch, signed_in: bool
) -> None:
    monkeypatch.setattr("services.messages.resources.events.PER_USER", 2)
    monkeypatch.setattr("services.messages.resources.events.PER_ADDRESS", 2)
    headers = as_user() if signed_in else {"X-Forwarded-For": "203.0.113.9"}
    other = as_user() if signed_in else {"X-Forwarded-For": "203.0.113.10"}
    first, _ = listen(**headers), listen(**headers)
    refused = listen(greeting=False, **headers)
    assert (refused.status, refused.response.headers["Retry-After"]) == (429, "10")
    listen(**other)
    first.close()
    wait_until(lambda: listen(greeting=False, **headers).status == 200)


def test_there_is_a_number_of_streams_that_a_process_serves(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_server, "MAX_STREAMS", 1)
    listen()
    refused = listen(greeting=False)
    assert (refused.status, refused.response.headers["Retry-After"]) == (503, "5")


def test_whoever_does_not_read_is_cut_off(
    app: Flask, listen: Listen, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse_server, "WRITE_TIMEOUT", 0.3)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", port))
        slow.sendall(b"GET /api/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert slow.recv(100)
        reader = listen()
        served: SseServer = service_of(app).get(SseServer)
        assert served._counts.total() == 2
        for _ in range(40):
            assert hears(reader, append(1, size=50_000))
        wait_until(lambda: served._counts.total() == 1)


def test_whoever_reads_slowly_misses_nothing(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_server, "BUFFER", 4096)
    monkeypatch.setattr(sse_server, "PAGE", 3)
    slow = Listener(port)
    assert slow.next()
    subjects = append(30, size=100_000)
    assert about(slow.take(30)) == subjects
    slow.close()


def test_silence_is_broken_by_comments(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse_server, "HEARTBEAT", 0.2)
    monkeypatch.setattr(sse_server, "SWEEP_INTERVAL", 0.05)
    stream = listen()
    time.sleep(0.7)
    append(1)
    assert stream.next()
    assert 1 <= stream.comments <= 4


def test_at_a_stop_all_streams_end_with_a_hint_when_to_come_back(app: Flask, listen: Listen) -> None:
    opened = [listen() for _ in range(5)]
    for stop in service_of(app).on_stop:
        stop()
    for stream in opened:
        assert stream.rest() == []
        assert len(stream.retry) == 2
    assert len({stream.retry[1] for stream in opened}) > 1


def test_what_other_processes_append_is_told_too(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = listen()
    monkeypatch.setattr(event_log, "on_commit", None)
    assert hears(stream, append(1))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_database_that_is_away_for_a_moment_costs_no_stream(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = listen()
    broken: list[int] = []

    def fail() -> int:
        broken.append(1)
        raise RuntimeError

    newest = event_log.newest
    monkeypatch.setattr(event_log, "newest", fail)
    subjects = append(2)
    wait_until(lambda: len(broken) > 1)
    monkeypatch.setattr(event_log, "newest", newest)
    assert about(stream.take(2)) == subjects


def test_the_public_topics_are_the_documented_ones(client: Client) -> None:
    answer: Any = client.get("/api/events?topics=nothing")
    for topic in TOPICS:
        assert topic in answer.json["errors"]["topics"][0]
