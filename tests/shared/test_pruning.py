"""A feed keeps 30 days; who is further behind takes over what the owner's tables say. On both engines."""

from typing import Any

import pytest
from flask import Flask

from shared.feed import consumer, outbox
from shared.feed.consumer import MemoryConsumer
from shared.feed.database_consumer import DatabaseConsumer, Page
from shared.feed.outbox import PRUNED
from shared.ids import first_id, new_id
from shared.web.internal import table_blueprint
from tests.conftest import FrozenClock
from tests.helpers import assert_problem
from tests.shared.conftest import Serve, in_threads
from tests.shared.test_outbox import Ask, ask, subjects
from tests.shared.toys import models
from tests.shared.toys.models import Fact, FeedPosition, database
from tests.waiting import wait_until

__all__ = ["ask"]
DAYS = 24 * 60 * 60


def publish(*names: object) -> None:
    for name in names:
        with database.atomic():
            models.feed.publish("noted", str(name), {"name": name})


def kept() -> list[tuple[str, str]]:
    return [(fact.type, fact.subject) for fact in Fact.select().order_by(Fact.transaction, Fact.id)]


def ids() -> list[str]:
    return [f"{fact.transaction}-{fact.id}" for fact in Fact.select().order_by(Fact.transaction, Fact.id)]


def test_what_is_older_than_30_days_goes_but_for_the_mark(any_app: Flask, frozen_clock: FrozenClock) -> None:
    publish(1, 2, 3)
    frozen_clock.advance(days=29)
    publish(4)
    models.feed.prune()
    assert len(kept()) == 4
    frozen_clock.advance(days=1, seconds=1)
    models.feed.prune()
    assert kept() == [(PRUNED, "3"), ("noted", "4")]
    models.feed.prune()
    assert kept() == [(PRUNED, "3"), ("noted", "4")]


def test_the_newest_fact_stays_so_that_numbers_go_on(any_app: Flask, frozen_clock: FrozenClock) -> None:
    publish(1, 2)
    last = ids()[-1]
    frozen_clock.advance(days=400)
    models.feed.prune()
    assert ids() == [last]
    publish(3)
    assert [int(text) for text in ids()[1].split("-")] > [int(text) for text in last.split("-")]
    models.feed.prune()
    assert len(ids()) == 2


def test_a_fact_that_is_alone_is_no_mark(any_app: Flask, frozen_clock: FrozenClock, ask: Ask) -> None:
    publish(1)
    frozen_clock.advance(days=400)
    models.feed.prune()
    assert subjects(ask().json) == ["1"]


def test_many_facts_go_some_at_a_time(
    any_app: Flask, frozen_clock: FrozenClock, monkeypatch: pytest.MonkeyPatch, ask: Ask
) -> None:
    monkeypatch.setattr(outbox, "PRUNED_AT_ONCE", 3)
    publish(*range(10))
    frozen_clock.advance(days=31)
    publish("new")
    last = Fact.get(Fact.subject == "9")
    assert models.feed._prune_some(last)
    assert kept()[0] == (PRUNED, "3")
    assert ask().status_code == 410
    models.feed.prune()
    assert kept() == [(PRUNED, "9"), ("noted", "new")]


def test_pruning_in_several_processes_at_once_leaves_the_same(any_app: Flask, frozen_clock: FrozenClock) -> None:
    publish(*range(30))
    frozen_clock.advance(days=31)
    publish("new")
    assert in_threads(4, lambda _: models.feed.prune()) == [None] * 4
    assert kept() == [(PRUNED, "29"), ("noted", "new")]


def test_who_is_too_far_behind_is_told_what_is_kept(any_app: Flask, frozen_clock: FrozenClock, ask: Ask) -> None:
    publish(1, 2, 3)
    frozen_clock.advance(days=31)
    publish(4)
    before = ids()
    models.feed.prune()
    for query in ("", f"lastEventId={before[0]}", f"lastEventId={before[1]}", "lastEventId=0-0"):
        answer = ask(query)
        assert (answer.status_code, answer.json) == (410, {"oldest": before[2]})
    assert subjects(ask(f"lastEventId={before[2]}").json) == ["4"]
    assert ask(f"lastEventId={before[3]}").json == []
    assert subjects(ask("since=2029-01-01T00:00:00Z").json)[-1] == "4"


def test_a_new_fact_after_a_quiet_month_sends_nobody_back(any_app: Flask, frozen_clock: FrozenClock, ask: Ask) -> None:
    """Who had read the newest fact of a quiet feed reads on, whenever it is pruned."""
    publish(1, 2)
    place = ids()[-1]
    frozen_clock.advance(days=31)
    models.feed.prune()
    publish(3)
    models.feed.prune()
    assert subjects(ask(f"lastEventId={place}").json) == ["3"]


# Readers


class Known(DatabaseConsumer):
    """A reader that notes what it takes over and what it is told."""

    def __init__(self, url: str, token: str) -> None:
        self.told: list[str] = []
        self.taken: list[Page] = []
        self.error: Exception | None = None
        handlers = {"noted": lambda event: self.told.append(event["subject"])}
        super().__init__("toys", url, token, handlers, position=FeedPosition)

    def rebuild(self) -> None:
        self.taken += self.pages("/internal/things")
        if self.error:
            raise self.error


@pytest.fixture
def things() -> list[str]:
    """The ids in the owner's table, in their order."""
    return []


@pytest.fixture
def source(any_app: Flask, serve: Serve, things: list[str]) -> str:
    def rows_after(after: str) -> list[dict[str, Any]]:
        return [{"id": thing} for thing in things if thing > after][:2]

    any_app.register_blueprint(table_blueprint("things", rows_after))
    return serve(any_app)


@pytest.fixture
def token(any_app: Flask) -> str:
    return str(any_app.config["INTERNAL_TOKEN"])


def read_all(reader: consumer.FeedConsumer, until: str) -> None:
    def told() -> bool:
        reader.read_batch()
        return until in [*getattr(reader, "told", ()), *getattr(reader, "seen", ())]

    wait_until(told)


def test_a_reader_that_is_too_far_behind_takes_over_and_reads_what_is_kept(
    source: str, token: str, things: list[str], frozen_clock: FrozenClock
) -> None:
    publish(1)
    reader = Known(source, token)
    read_all(reader, "1")
    publish(2, 3)
    frozen_clock.advance(days=31)
    publish(4)
    models.feed.prune()
    things += sorted(new_id() for _ in range(5))
    frozen_clock.advance(hours=1)
    again = Known(source, token)
    read_all(again, "4")
    assert again.told == ["4"]
    assert [len(page.rows) for page in again.taken] == [2, 2, 1, 0]
    assert set().union(*(page.ids for page in again.taken)) == set(things)
    bounds = [(page.after, page.last) for page in again.taken]
    assert bounds[0][0] == ""
    assert [last for _, last in bounds[:-1]] == [after for after, _ in bounds[1:]]
    assert bounds[-1][1] > things[-1]
    assert again.read_batch() == 0


def test_a_reader_that_starts_late_takes_over_too(
    source: str, token: str, things: list[str], frozen_clock: FrozenClock
) -> None:
    publish(1, 2)
    frozen_clock.advance(days=31)
    publish(3)
    models.feed.prune()
    things.append(first_id(frozen_clock.moment.replace(year=2029)))
    reader = Known(source, token)
    read_all(reader, "3")
    assert (reader.told, len(reader.taken)) == (["3"], 2)


def test_who_was_made_just_now_is_left_to_the_feed(
    source: str, token: str, things: list[str], frozen_clock: FrozenClock
) -> None:
    """Somebody may be known here already who was not yet when the page was made: nothing is said of them."""
    things.append(new_id())
    frozen_clock.advance(hours=1)
    things.append(young := new_id())
    (page, rest) = Known(source, token).pages("/internal/things")
    assert page.ids == {things[0]}
    assert rest.rows == []
    assert rest.last < young


def test_a_takeover_that_fails_is_begun_again(
    source: str, token: str, things: list[str], frozen_clock: FrozenClock
) -> None:
    things.append(new_id())
    publish(1, 2)
    frozen_clock.advance(days=31)
    publish(3)
    models.feed.prune()
    reader = Known(source, token)
    reader.error = OSError("it went away")
    for _ in range(2):
        with pytest.raises(OSError, match="it went away"):
            reader.read_batch()
    assert FeedPosition.select().count() == 0
    reader.error = None
    read_all(reader, "3")
    assert reader.told == ["3"]


def test_an_empty_table_is_believed_only_where_that_may_be(source: str, token: str) -> None:
    reader = Known(source, token)
    with pytest.raises(OSError, match="may be the wrong database"):
        list(reader.pages("/internal/things"))
    (page,) = reader.pages("/internal/things", may_be_empty=True)
    assert (page.rows, page.after) == ([], "")


def test_a_memory_reader_looks_back_again(source: str, token: str, frozen_clock: FrozenClock) -> None:
    class Seeing(MemoryConsumer):
        def __init__(self) -> None:
            self.seen: list[str] = []
            handlers = {"noted": lambda event: self.seen.append(event["subject"])}
            super().__init__("toys", source, token, handlers, look_back=DAYS)

    publish(1)
    reader = Seeing()
    read_all(reader, "1")
    publish(2)
    frozen_clock.advance(days=31)
    publish(3)
    models.feed.prune()
    read_all(reader, "3")
    assert reader.seen == ["1", "3"]


def test_a_table_is_for_other_services_only(any_app: Flask, source: str) -> None:
    assert_problem(any_app.test_client().get("/internal/things"), 404, "NOT_FOUND")
