"""Readers of a feed over HTTP: each fact has its effect exactly once, whatever breaks in between."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import peewee
import psycopg
import pytest
from flask import Flask
from werkzeug.serving import make_server

from shared import clock
from shared.feed import consumer, outbox
from shared.feed.consumer import HandlerError, MemoryConsumer
from shared.feed.database_consumer import DatabaseConsumer
from shared.ids import new_id
from shared.periodic_task import REMIND
from tests.conftest import FrozenClock
from tests.databases import end_connections
from tests.ports import free_port
from tests.shared.conftest import Serve, in_threads, serve_until_stopped
from tests.shared.toys import models
from tests.shared.toys.models import FeedPosition, Toy, database
from tests.waiting import wait_until

BATCH = 7
MakeReader = Callable[..., DatabaseConsumer]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "BATCH", BATCH)
    monkeypatch.setattr(consumer, "BATCH", BATCH)
    monkeypatch.setattr(consumer, "PAUSE", 0.01)
    monkeypatch.setattr(consumer, "RETRY", 0.02)


@pytest.fixture
def source(any_app: Flask, serve: Serve) -> str:
    """The address of a service whose facts are read."""
    return serve(any_app)


@pytest.fixture
def token(any_app: Flask) -> str:
    return str(any_app.config["INTERNAL_TOKEN"])


def note(event: dict[str, Any]) -> None:
    """Have an effect that the database does not take twice."""
    Toy.create(name=event["subject"], price=0, owner_id=new_id())


@pytest.fixture
def make_reader(source: str, token: str) -> MakeReader:
    def make(handler: Callable[[dict[str, Any]], None] = note, url: str = source) -> DatabaseConsumer:
        return DatabaseConsumer("toys", url, token, {"noted": handler}, position=FeedPosition)

    return make


def publish(*subjects: object, kind: str = "noted") -> None:
    for subject in subjects:
        with database.atomic():
            models.feed.publish(kind, str(subject), {})


def noted() -> list[str]:
    return [toy.name for toy in Toy.select().order_by(Toy.created_at, Toy.id)]


def read_until(reader: consumer.FeedConsumer, condition: Callable[[], object]) -> None:
    """Read on; on a shared PostgreSQL server facts may be held back a moment."""

    def read() -> object:
        reader.read_batch()
        return condition()

    wait_until(read)


@pytest.fixture
def running() -> Iterator[list[consumer.FeedConsumer]]:
    """Readers that are stopped after the test, their threads too."""
    started: list[consumer.FeedConsumer] = []
    before = set(threading.enumerate())
    yield started
    for reader in started:
        reader.stop()
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("feed-"):
            thread.join(5)


def test_a_database_reader_applies_each_fact_once_and_in_order(make_reader: MakeReader) -> None:
    publish(*range(10))
    reader = make_reader()
    read_until(reader, lambda: len(noted()) == 10)
    assert noted() == [str(number) for number in range(10)]
    assert reader.read_batch() == 0


def test_a_reader_passes_over_what_it_has_no_handler_for(make_reader: MakeReader) -> None:
    publish(1, kind="unheard of")
    publish(2)
    reader = make_reader()
    read_until(reader, lambda: noted())
    assert noted() == ["2"]


def test_the_position_survives_a_restart(make_reader: MakeReader) -> None:
    publish(1, 2)
    first = make_reader()
    read_until(first, lambda: len(noted()) == 2)
    publish(3)
    second = make_reader()
    read_until(second, lambda: len(noted()) == 3)
    assert noted() == ["1", "2", "3"]


def test_racing_readers_apply_each_fact_once(make_reader: MakeReader) -> None:
    publish(*range(40))

    def read(_index: int) -> None:
        reader = make_reader()
        read_until(reader, lambda: Toy.select().count() == 40)

    assert in_threads(3, read) == [None] * 3
    assert noted() == [str(number) for number in range(40)]


def test_a_handler_that_fails_undoes_its_event_and_is_asked_again(make_reader: MakeReader) -> None:
    healthy = threading.Event()

    def fail_on_3(event: dict[str, Any]) -> None:
        note(event)
        if event["subject"] == "3" and not healthy.is_set():
            raise ZeroDivisionError

    publish(*range(6))
    reader = make_reader(fail_on_3)
    for _ in range(3):
        with pytest.raises(HandlerError, match="noted"):
            read_until(reader, lambda: False)
        assert noted() == ["0", "1", "2"], "what stands before the poison is applied, and nothing after it"
    healthy.set()
    reader.read_batch()
    assert noted() == ["0", "1", "2", "3", "4", "5"]


def test_a_reader_never_dies_and_says_what_stands_still(
    make_reader: MakeReader, running: list[consumer.FeedConsumer], caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    def fail(event: dict[str, Any]) -> None:
        tries.append(event["id"])
        raise ZeroDivisionError

    publish(1)
    running.append(make_reader(fail))
    running[0].start()
    wait_until(lambda: len(tries) >= REMIND + 2)
    running[0].stop()
    assert len(set(tries)) == 1
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert f"noted {tries[0]}" in errors[0].getMessage()
    assert errors[0].exc_info is not None
    assert FeedPosition.select().count() == 0


@contextmanager
def serving(app: Flask, port: int) -> Iterator[None]:
    server = make_server("127.0.0.1", port, app)
    thread = threading.Thread(target=serve_until_stopped, args=(server,))
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_reader_waits_for_a_source_that_is_away(
    any_app: Flask, make_reader: MakeReader, running: list[consumer.FeedConsumer], caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    publish(1)
    running.append(make_reader(url=f"http://127.0.0.1:{port}"))
    running[0].start()
    wait_until(lambda: caplog.records)
    for subject in ("1", "2"):
        with serving(any_app, port):
            wait_until(lambda: noted()[-1:] == [subject])  # noqa: B023 (it is over before the next round)
        time.sleep(0.1)
        if subject == "1":
            publish(2)
    warnings = [record.getMessage() for record in caplog.records if record.name == "postern.feed"]
    assert 1 <= len(warnings) <= 10, "one line an outage, not one a try"
    assert all(text.startswith("feed of toys cannot be read") for text in warnings)


@pytest.mark.parametrize(
    "error, line",
    [
        (psycopg.OperationalError("no connection\n\tat all"), "the database is not available: no connection"),
        (psycopg.errors.DiskFull("no space left"), "the disk is full: no space left"),
    ],
)
def test_an_outage_of_the_readers_database_is_one_line(
    make_reader: MakeReader,
    running: list[consumer.FeedConsumer],
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    line: str,
) -> None:
    tries: list[str] = []

    def fail(event: dict[str, Any]) -> None:
        tries.append(event["id"])
        with vars(peewee)["__exception_wrapper__"]:
            raise error

    publish(1)
    running.append(make_reader(fail))
    running[0].start()
    wait_until(lambda: len(tries) > 3)
    running[0].stop()
    (record,) = caplog.records
    assert record.getMessage() == f"feed of toys stands still and is tried again: {line}"
    assert not record.exc_info


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_a_reader_gets_over_a_lost_connection(
    make_reader: MakeReader, running: list[consumer.FeedConsumer], database_url: str
) -> None:
    publish(1)
    running.append(make_reader())
    running[0].start()
    wait_until(lambda: noted() == ["1"])
    database.close()
    end_connections(database_url)
    publish(2)
    wait_until(lambda: noted() == ["1", "2"])


def test_a_reader_that_is_stopped_stops_soon(make_reader: MakeReader, running: list[consumer.FeedConsumer]) -> None:
    reader = make_reader()
    reader.start()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "feed-toys"]
    reader.stop()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_wrong_token_is_an_outage(source: str) -> None:
    reader = MemoryConsumer("toys", source, "wrong", {}, look_back=60)
    with pytest.raises(OSError, match="answered 404"):
        reader.read_batch()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_answer_that_is_no_json_is_an_outage(any_app: Flask, source: str, token: str) -> None:
    any_app.view_functions["feed.batch"] = lambda: "<html>"
    with pytest.raises(OSError, match="no JSON"):
        MemoryConsumer("toys", source, token, {}, look_back=60).read_batch()


def test_a_memory_reader_looks_back_and_goes_on(source: str, token: str, frozen_clock: FrozenClock) -> None:
    for subject in "abc":
        publish(subject)
        frozen_clock.advance(minutes=1)
    seen: list[str] = []
    handlers = {"noted": lambda event: seen.append(event["subject"])}
    reader = MemoryConsumer("toys", source, token, handlers, look_back=150)
    read_until(reader, lambda: len(seen) == 2)
    publish("d")
    read_until(reader, lambda: len(seen) == 3)
    assert reader.read_batch() == 0
    assert seen == ["b", "c", "d"]
    assert reader.last_event_id is not None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_memory_reader_keeps_what_stands_before_a_failure(source: str, token: str) -> None:
    seen: list[str] = []

    def handle(event: dict[str, Any]) -> None:
        seen.append(event["subject"])
        if event["subject"] == "2" and seen.count("2") < 3:
            raise ZeroDivisionError

    publish(1, 2, 3)
    reader = MemoryConsumer("toys", source, token, {"noted": handle}, look_back=60)
    for _ in range(2):
        with pytest.raises(HandlerError):
            reader.read_batch()
    reader.read_batch()
    assert seen == ["1", "2", "2", "2", "3"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_memory_reader_without_news_asks_for_the_recent_past_only(
    source: str, token: str, frozen_clock: FrozenClock
) -> None:
    publish("old")
    frozen_clock.advance(hours=1)
    reader = MemoryConsumer("toys", source, token, {}, look_back=60)
    assert reader.read_batch() == 0
    assert reader._position() == {"since": clock.rfc3339(clock.now() - timedelta(seconds=60))}


def test_a_reader_that_is_led_asks_when_there_is_news(
    make_reader: MakeReader,
    source: str,
    token: str,
    running: list[consumer.FeedConsumer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(consumer, "FOLLOWER_PAUSE", 60)
    follower, leader = make_reader(), MemoryConsumer("toys", source, token, {}, look_back=60)
    leader.add_follower(follower)
    running += [leader, follower]
    publish(1)
    for reader in running:
        reader.start()
    wait_until(lambda: noted() == ["1"])
    publish(2)
    wait_until(lambda: noted() == ["1", "2"])


def test_who_is_woken_asks_less_often_by_itself_until_nobody_wakes_it_any_more(
    make_reader: MakeReader, running: list[consumer.FeedConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "PAUSE", 0.05)
    monkeypatch.setattr(consumer, "WOKEN_PAUSE", 60)
    reader = make_reader()
    questions = count_questions(reader, monkeypatch)
    running.append(reader)
    reader.start()
    wait_until(lambda: len(questions) >= 3)
    reader.wake()
    time.sleep(0.5)
    asked = len(questions)
    time.sleep(0.5)
    assert len(questions) == asked
    reader.expect_no_wakeups()
    wait_until(lambda: len(questions) >= asked + 3)


def test_who_is_woken_and_finds_nothing_asks_again_soon(
    make_reader: MakeReader, running: list[consumer.FeedConsumer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that still runs may hold back what the reader was woken for."""
    reader = make_reader()
    questions = count_questions(reader, monkeypatch)
    reader.pause = 60
    running.append(reader)
    reader.start()
    wait_until(lambda: questions)
    reader.wake()
    wait_until(lambda: len(questions) >= 3)
    time.sleep(0.1)
    assert len(questions) == 3


def count_questions(reader: DatabaseConsumer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    questions, read_batch = [], reader.read_batch

    def count() -> int:
        questions.append(read_batch())
        return questions[-1]

    monkeypatch.setattr(reader, "read_batch", count)
    return questions
