"""Readers that are woken over Redis."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from shared.app import create_service, run_in_background
from shared.feed import consumer as readers
from shared.feed import wakeup_redis as waking_module
from shared.feed.consumer import FeedConsumer, MemoryConsumer
from shared.feed.wakeup_redis import RedisWakeup
from shared.identity.jwks import Jwks
from shared.service import service_of
from shared.settings import BaseConfig
from tests.ports import free_port
from tests.redis_server import RedisServer
from tests.shared.conftest import Serve
from tests.shared.toys import models
from tests.shared.toys.models import database


class Nudged(FeedConsumer):
    """A reader that only notes when it is woken."""

    def __init__(self, source: str) -> None:
        super().__init__(source, "http://nowhere", "", {})
        self.woken = threading.Event()
        self.left_alone = threading.Event()

    def wake(self) -> None:
        self.woken.set()

    def expect_no_wakeups(self) -> None:
        self.left_alone.set()


Wake = Callable[..., RedisWakeup]


@pytest.fixture
def start() -> Iterator[Wake]:
    started: list[RedisWakeup] = []

    def make(url: str, name: str, *readers: FeedConsumer) -> RedisWakeup:
        started.append(RedisWakeup(url, name))
        for reader in readers:
            started[-1].subscribe(reader)
        started[-1].start()
        return started[-1]

    yield make
    for waking in started:
        waking.stop()


def until(condition: Callable[[], object], again: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        again()
        time.sleep(0.02)


def test_readers_of_a_source_wake_when_it_tells_of_news_and_others_sleep(redis_url: str, start: Wake) -> None:
    mine, same, other = Nudged("toys"), Nudged("toys"), Nudged("tools")
    start(redis_url, "reading", mine, other)
    start(redis_url, "reading too", same)
    source = start(redis_url, "toys")
    for reader in (mine, same, other):
        assert reader.woken.wait(5)  # as soon as it listens
        reader.woken.clear()
    until(lambda: mine.woken.is_set() and same.woken.is_set(), source.notify)
    assert not other.woken.is_set()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_readers_are_told_within_a_second_that_redis_has_gone_or_hangs(
    tmp_path: Path, start: Wake, end: signal.Signals
) -> None:
    server, reader = RedisServer(tmp_path), Nudged("toys")
    try:
        start(server.url, "reading", reader)
        assert reader.woken.wait(5)
        assert not reader.left_alone.wait(1.5)  # a Redis that is silent is there
        server.process.send_signal(end)
        gone = time.monotonic()
        assert reader.left_alone.wait(10)
        assert time.monotonic() - gone < 3  # one, on a machine that does nothing else
    finally:
        server.process.kill()
        server.process.wait()


def test_others_are_told_after_the_commit_and_of_nothing_that_was_undone(app: Flask) -> None:
    told: list[bool] = []
    models.feed.on_commit = lambda: told.append(database.in_transaction())
    try:
        with database.atomic():
            models.feed.publish("noted", "1", {})
            with database.atomic():
                models.feed.publish("noted", "2", {})
            assert told == []
        assert told == [False, False]
        with database.atomic() as transaction:
            models.feed.publish("noted", "3", {})
            transaction.rollback()
        assert told == [False, False]
    finally:
        models.feed.on_commit = None


def test_a_fact_reaches_a_reader_that_would_ask_much_later(
    redis_url: str, app: Flask, serve: Serve, settings: dict[str, str], jwks: Jwks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "PAUSE", 60.0)
    seen: list[str] = []
    config = BaseConfig.load(settings | {"REDIS_URL": redis_url})
    source = create_service("toys", config, [], feed=models.feed, fetch_keys=lambda: jwks)
    reading = create_service("reading", config, [], fetch_keys=lambda: jwks)
    handlers: Any = {"noted": lambda event: seen.append(event["subject"])}
    reader = MemoryConsumer("toys", serve(app), app.config["INTERNAL_TOKEN"], handlers, look_back=60)
    run_in_background(reading, reader)
    wakings = [service_of(service).wakeup for service in (source, reading)]
    tasks: list[Any] = [*wakings, reader]
    for task in tasks:
        task.start()
    try:
        until(lambda: seen, lambda: publish("x"))
    finally:
        for task in tasks:
            task.stop()
        models.feed.on_commit = None


def publish(subject: str) -> None:
    with database.atomic():
        models.feed.publish("noted", subject, {})


def test_without_redis_one_line_is_logged_and_telling_costs_nothing(
    start: Wake, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waking_module, "RETRY", 0.05)
    with caplog.at_level(logging.WARNING):
        waking = start(f"redis://127.0.0.1:{free_port()}", "toys", Nudged("toys"))
        started = time.monotonic()
        for _ in range(100):
            waking.notify()
        assert time.monotonic() - started < 1
        until(lambda: caplog.records)
        time.sleep(0.3)
    assert len(caplog.records) <= 2  # one of each thread
