"""The feed as its owner writes and serves it: every committed fact, in the order of what saw what, on both engines."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from playhouse.test_utils import count_queries

from shared import clock
from shared.feed.service_client import BATCH
from shared.ids import new_id
from tests.conftest import POSTGRES, FrozenClock
from tests.helpers import assert_problem
from tests.shared.conftest import in_threads
from tests.shared.toys import models
from tests.shared.toys.models import Fact, Toy, database

only_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
Ask = Callable[..., Any]


def publish(subject: object = "s", kind: str = "toy.made") -> None:
    models.feed.publish(kind, str(subject), {"subject": subject})


def subjects(events: list[dict[str, Any]]) -> list[str]:
    return [event["subject"] for event in events]


def read(after: str | None = None) -> list[dict[str, Any]]:
    return models.feed.read(after, None, BATCH)


@pytest.fixture
def ask(any_app: Flask) -> Ask:
    """Return `ask(query)`, which asks the feed as another service does."""
    headers = {"Authorization": f"Bearer {any_app.config['INTERNAL_TOKEN']}"}
    return lambda query="": any_app.test_client().get(f"/internal/feed?{query}", headers=headers)


@pytest.mark.usefixtures("app")
def test_a_fact_is_published_inside_a_transaction_only() -> None:
    with pytest.raises(RuntimeError, match="inside the transaction"):
        publish()


def test_a_fact_is_a_cloud_event(ask: Ask, frozen_clock: FrozenClock) -> None:
    subject = new_id()
    with database.atomic():
        models.feed.publish("toy.made", subject, {"name": "電車", "at": clock.now()})
    response = ask()
    assert response.content_type == "application/cloudevents-batch+json"
    assert response.headers["Cache-Control"] == "private, no-store"
    (event,) = response.json
    assert event.pop("id").count("-") == 1
    assert event == {
        "specversion": "1.0",
        "source": "/toys",
        "type": "toy.made",
        "subject": subject,
        "time": "2030-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "data": {"name": "電車", "at": "2030-01-02T03:04:05.678901+00:00"},
    }


def publish_and_fail(subject: str) -> None:
    with database.atomic():
        publish(subject)
        raise ZeroDivisionError


def test_a_fact_that_was_rolled_back_never_appears(ask: Ask) -> None:
    with pytest.raises(ZeroDivisionError):
        publish_and_fail("undone")
    with database.atomic():
        publish("done")
        with pytest.raises(ZeroDivisionError):
            publish_and_fail("undone too")
    assert subjects(ask().json) == ["done"]


def test_a_reader_goes_on_where_it_was(ask: Ask) -> None:
    for number in range(5):
        with database.atomic():
            publish(number)
    first = ask("limit=2").json
    assert subjects(first) == ["0", "1"]
    rest = ask(f"lastEventId={first[-1]['id']}").json
    assert subjects(rest) == ["2", "3", "4"]
    assert ask(f"lastEventId={rest[-1]['id']}").json == []
    assert subjects(ask(f"lastEventId={first[0]['id']}&limit=1").json) == ["1"]


def test_since_skips_what_is_older(ask: Ask, frozen_clock: FrozenClock) -> None:
    for number in range(3):
        with database.atomic():
            publish(number)
        frozen_clock.advance(minutes=1)
    since = quote(clock.rfc3339(clock.now() - timedelta(minutes=2)))
    assert subjects(ask(f"since={since}").json) == ["1", "2"]
    assert ask(f"since={quote(clock.rfc3339(clock.now()))}").json == []


NO_PLACES = [
    "limit=0",
    "limit=-1",
    "limit=501",
    "limit=1.5",
    "limit=x",
    "limit=",
    "limit=%D9%A1",
    "limit=99999999999999999999",
    "lastEventId=x",
    "lastEventId=1",
    "lastEventId=1-",
    "lastEventId=-1-1",
    "lastEventId=1-1-1",
    "lastEventId=0-99999999999999999999",
    "lastEventId=99999999999999999999-0",
    "lastEventId=0-%D9%A1",
    "lastEventId=0-1;DROP",
    "lastEventId=0-1%00",
    "since=yesterday",
    "since=2026-01-01",
    "since=2026-01-01T00:00:00",
    "since=0001-01-01T00:00:00%2B14:00",
    "since=9999-12-31T23:59:59-14:00",
]


def test_a_position_or_limit_that_is_none_is_400(ask: Ask) -> None:
    for query in NO_PLACES:
        assert_problem(ask(query), 400, "BAD_REQUEST")


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_extreme_moments_are_moments(ask: Ask, since: str) -> None:
    assert ask(f"since={since}").status_code == 200


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer x", "Basic {}", "Bearer {}x", "bearer é", "{}"])
def test_without_the_token_there_is_no_feed(app: Flask, client: FlaskClient, token: str) -> None:
    headers = {"Authorization": token.format(app.config["INTERNAL_TOKEN"])}
    assert_problem(client.get("/internal/feed", headers=headers), 404, "NOT_FOUND")


def test_a_token_of_a_user_opens_no_feed(client: FlaskClient, ann: dict[str, str]) -> None:
    assert_problem(client.get("/internal/feed", headers=ann), 404, "NOT_FOUND")


@pytest.mark.usefixtures("any_app")
def test_concurrent_writers_appear_in_the_order_of_their_commits() -> None:
    toy = Toy.create(name="counter", price=0, owner_id=new_id())

    def count(_index: int) -> None:
        for _ in range(8):
            with database.atomic():
                Fact.insert(type="early", subject="", data="{}").execute()  # an id long before the turn comes
                Toy.update(price=Toy.price + 1).where(Toy.id == toy.id).execute()
                publish(Toy.get_by_id(toy.id).price)

    assert in_threads(5, count) == [None] * 5
    counted = [event for event in read() if event["type"] == "toy.made"]
    assert subjects(counted) == [str(number) for number in range(1, 41)]


class Transaction:
    """A transaction in a thread of its own, which does one step after the other as it is told."""

    def __init__(self) -> None:
        self._step: Callable[[], Any] | None = None
        self._told, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        with database.atomic():
            while self._told.acquire() and self._step:
                self._step()
                self._done.release()
        database.close()

    def do(self, step: Callable[[], Any]) -> None:
        self._step = step
        self._told.release()
        assert self._done.acquire(timeout=5)

    def commit(self) -> None:
        self._step = None
        self._told.release()
        self._thread.join()


Begin = Callable[[], Transaction]


@pytest.fixture
def begin(any_app: Flask) -> Iterator[Begin]:
    """Return `begin()`; what a test left open is ended after it."""
    begun: list[Transaction] = []

    def start() -> Transaction:
        begun.append(Transaction())
        return begun[-1]

    yield start
    for transaction in begun:
        transaction.commit()


@only_postgres
def test_what_a_transaction_saw_of_another_stands_before_what_it_says(begin: Begin) -> None:
    toy = Toy.create(name="bear", price=0, owner_id=new_id())
    early, late = begin(), begin()
    early.do(lambda: Toy.create(name="other", price=1, owner_id=new_id()))
    for number, transaction in enumerate((late, early)):
        transaction.do(lambda: Toy.update(price=1).where(Toy.id == toy.id).execute())
        transaction.do(lambda number=number: publish(number))  # type: ignore[misc]
        transaction.commit()
    assert subjects(read()) == ["0", "1"]


@only_postgres
def test_a_fact_is_not_served_while_an_earlier_one_can_still_appear(begin: Begin) -> None:
    first, second = begin(), begin()
    first.do(lambda: publish("first"))
    second.do(lambda: publish("second"))
    second.commit()
    assert read() == []
    first.commit()
    assert subjects(read()) == ["first", "second"]


@only_postgres
def test_a_fact_is_served_at_once_when_nothing_else_runs(begin: Begin) -> None:
    early, late = begin(), begin()
    early.do(lambda: Toy.create(name="other", price=1, owner_id=new_id()))
    late.do(lambda: publish("late"))
    late.commit()
    early.do(lambda: publish("early"))
    early.commit()
    assert subjects(read()) == ["late", "early"]


@pytest.fixture
def stranger(any_app: Flask) -> Iterator[psycopg.Connection]:
    """A connection to another database of the server, inside a transaction that has written."""
    with psycopg.connect(f"{POSTGRES}/postgres") as connection:
        connection.execute("SELECT pg_current_xact_id()")
        yield connection


@only_postgres
@pytest.mark.usefixtures("stranger")
def test_a_transaction_in_another_database_holds_nothing_back() -> None:
    with database.atomic():
        publish()
    role = "pg_signal_backend"  # one that sees little of others' work, as that of a service
    for grant in ("USAGE ON SCHEMA public", "SELECT ON ALL TABLES IN SCHEMA public"):
        database.execute_sql(f"GRANT {grant} TO {role}")
    database.execute_sql(f"SET ROLE {role}")
    assert subjects(read()) == ["s"]


def keep_writing_elsewhere(until: threading.Event) -> None:
    """Write in another database of the server, now and then for longer than a reader waits."""
    with psycopg.connect(f"{POSTGRES}/postgres") as connection:
        while not until.is_set():
            connection.execute("SELECT pg_current_xact_id()")
            time.sleep(random.uniform(0, 0.03))
            connection.commit()


@pytest.fixture
def strangers(any_app: Flask) -> Iterator[None]:
    """Others who keep writing in another database of the server."""
    finished = threading.Event()
    threads = [threading.Thread(target=keep_writing_elsewhere, args=(finished,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    finished.set()
    for thread in threads:
        thread.join()


@only_postgres
@pytest.mark.usefixtures("strangers")
def test_a_reader_misses_nothing_whatever_is_written_in_another_database() -> None:
    poll_beside_slow_writers()


@pytest.mark.usefixtures("any_app")
def test_a_reader_that_polls_beside_slow_writers_misses_nothing() -> None:
    poll_beside_slow_writers()


def poll_beside_slow_writers() -> None:
    writers, facts = 6, 10
    seen: list[dict[str, Any]] = []
    finished = threading.Semaphore(0)

    def work(index: int) -> None:
        if index < writers:
            try:
                for number in range(facts):
                    with database.atomic():
                        publish(f"{index}.{number}")
                        time.sleep(random.uniform(0, 0.01))
            finally:
                finished.release()
            return
        running = writers
        while running:
            running -= finished.acquire(timeout=0.005)
            while batch := read(seen[-1]["id"] if seen else None):
                seen.extend(batch)

    assert in_threads(writers + 1, work) == [None] * (writers + 1)
    seen.extend(read(seen[-1]["id"] if seen else None))
    assert sorted(subjects(seen)) == sorted(f"{index}.{number}" for index in range(writers) for number in range(facts))
    for index in range(writers):
        own = [subject for subject in subjects(seen) if subject.startswith(f"{index}.")]
        assert own == [f"{index}.{number}" for number in range(facts)]


def explain(query: tuple[str, Any]) -> str:
    sql, params = query
    if "%s" in sql:
        return "\n".join(line for (line,) in database.execute_sql(f"EXPLAIN {sql}", params))
    return "\n".join(line for *_, line in database.execute_sql(f"EXPLAIN QUERY PLAN {sql}", params))


@pytest.mark.usefixtures("any_app")
@pytest.mark.parametrize("start", ["last", "since"])
def test_an_empty_answer_is_one_indexed_read(start: str, frozen_clock: FrozenClock) -> None:
    with database.atomic():
        for number in range(3000):
            publish(number)
    database.execute_sql("ANALYZE")
    last = Fact.select().order_by(Fact.id.desc()).get()
    since = clock.now() + timedelta(minutes=1)
    with count_queries() as counter:
        after = f"{last.transaction}-{last.id}" if start == "last" else None
        assert models.feed.read(after, since, BATCH) == []
    (query,) = counter.get_queries()
    plan = explain(query.msg)
    assert "index" in plan.lower()
    assert "seq scan" not in plan.lower()
    assert "SCAN" not in plan
    if start == "last":
        assert "sort" not in plan.lower()
        assert "TEMP B-TREE" not in plan
