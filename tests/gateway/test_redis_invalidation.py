"""Several gateways with one Redis: what one purges, no other gives out."""

import logging
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import redis

from services.gateway.cache import redis_invalidation
from services.gateway.cache.redis_invalidation import LOG, NUMBER, RedisInvalidatedStore
from services.gateway.cache.store import StoreUnavailable
from tests.gateway.conftest import StartGateway, as_user
from tests.gateway.test_invalidation import Book, Counting, read_until, write_and_read_back
from tests.gateway.test_store import entry
from tests.gateway.upstreams import Upstream
from tests.gateway.wsgi_client import WsgiClient
from tests.redis_server import RedisServer
from tests.waiting import wait_until

URL = "/api/posts/1"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a Redis that is slow because the machine is busy."""
    monkeypatch.setattr(redis_invalidation, "TIMEOUT", 5.0)


@pytest.fixture
def impatient(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_invalidation, "TIMEOUT", 0.25)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that the test may stop, start again and halt."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def empty_redis(redis_url: str) -> redis.Redis:
    client = redis.Redis.from_url(redis_url)
    client.flushall()
    return client


@pytest.fixture
def stores(redis_url: str, empty_redis: redis.Redis) -> Iterator[tuple[RedisInvalidatedStore, RedisInvalidatedStore]]:
    one, two = (RedisInvalidatedStore(100_000, redis_url) for _ in range(2))
    for store in (one, two):
        store.apply_invalidations()
    yield one, two
    for store in (one, two):
        store.close()


def keep(store: RedisInvalidatedStore, target: str, *tags: str) -> None:
    assert store.put(entry(target, *tags), store.epoch)


def test_a_purge_is_heard_of_by_the_next_look_and_touches_nothing_else(
    stores: tuple[RedisInvalidatedStore, RedisInvalidatedStore],
) -> None:
    one, two = stores
    for store in stores:
        keep(store, "/a", "one")
        keep(store, "/b", "two words, é")
    one.purge(["one"])
    assert [store.find("/a", {}) for store in stores] == [None, None]
    assert None not in [store.find("/b", {}) for store in stores]
    two.purge(["two words, é"])
    assert [store.find("/b", {}) for store in stores] == [None, None]


def test_an_answer_on_its_way_is_refused_when_its_tag_is_purged_elsewhere(
    stores: tuple[RedisInvalidatedStore, RedisInvalidatedStore],
) -> None:
    one, two = stores
    since = two.epoch
    one.purge(["one"])
    two.put(entry("/early", "one"), since)
    assert two.find("/early", {}) is None
    assert not two.put(entry("/late", "one"), since)
    assert two.put(entry("/other", "two"), since)
    assert two.put(entry("/new", "one"), two.epoch)
    assert two.find("/new", {}) is not None


def test_what_the_feed_tells_is_told_to_nobody(stores: tuple[RedisInvalidatedStore, RedisInvalidatedStore]) -> None:
    one, two = stores
    keep(two, "/a", "one")
    one.purge_local(["one"])
    assert two.find("/a", {}) is not None


@pytest.mark.parametrize("lost", [(NUMBER,), (LOG,), (NUMBER, LOG)])
def test_what_redis_has_lost_makes_everything_forgotten(
    stores: tuple[RedisInvalidatedStore, RedisInvalidatedStore], empty_redis: redis.Redis, lost: tuple[str, ...]
) -> None:
    one, two = stores
    keep(two, "/a", "one")
    since = two.epoch
    one.purge(["other"])
    empty_redis.delete(*lost)
    assert two.find("/a", {}) is None
    assert not two.put(entry("/b", "one"), since)
    keep(two, "/c", "one")
    assert two.find("/c", {}) is not None
    one.purge(["one"])
    assert two.find("/c", {}) is None


def test_a_number_that_goes_back_makes_everything_forgotten(
    stores: tuple[RedisInvalidatedStore, RedisInvalidatedStore], empty_redis: redis.Redis
) -> None:
    one, two = stores
    one.purge(["other"])
    two.apply_invalidations()
    keep(two, "/a", "one")
    empty_redis.decr(NUMBER)
    assert two.find("/a", {}) is None


def test_who_has_missed_more_than_the_log_holds_forgets_all(
    stores: tuple[RedisInvalidatedStore, RedisInvalidatedStore], empty_redis: redis.Redis
) -> None:
    one, two = stores
    keep(two, "/a", "one")
    for number in range(redis_invalidation.MAX_LOG):
        one.purge([f"t{number}"])
    assert two.find("/a", {}) is not None
    for number in range(redis_invalidation.MAX_LOG + 1):
        one.purge([f"t{number}"])
    assert empty_redis.zcard(LOG) == redis_invalidation.MAX_LOG
    assert two.find("/a", {}) is None


def test_a_connection_that_was_cut_makes_everything_forgotten(
    stores: tuple[RedisInvalidatedStore, RedisInvalidatedStore], empty_redis: redis.Redis
) -> None:
    _, two = stores
    keep(two, "/a", "one")
    empty_redis.client_kill_filter(_type="normal", skipme=True)
    assert two.find("/a", {}) is None
    keep(two, "/a", "one")
    assert two.find("/a", {}) is not None


def test_a_purge_that_redis_did_not_take_is_told_later(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    one, two = (RedisInvalidatedStore(100_000, server.url, lambda: now) for _ in range(2))
    for store in (one, two):
        keep(store, "/a", "one")
        store.find("/a", {})
    server.stop()
    for _ in range(3):
        one.purge(["one"])
        now += redis_invalidation.PAUSE
        with pytest.raises(StoreUnavailable):
            one.find("/a", {})
    server.start()
    keep(two, "/b", "one")
    two.apply_invalidations()
    keep(two, "/c", "one")
    now += redis_invalidation.PAUSE
    one.apply_invalidations()
    assert (one._unpublished, two.find("/c", {})) == ({}, None)
    assert [record.levelno for record in caplog.records if record.name == "postern.cache"] == [logging.WARNING]


def test_what_a_write_has_perhaps_touched_is_outdated_everywhere(
    stores: tuple[RedisInvalidatedStore, RedisInvalidatedStore],
) -> None:
    one, _ = stores
    for store in stores:
        for target, tag in (("/a", "one"), ("/b", "two"), ("/c", "three")):
            kept = entry(target, tag)
            kept.fresh_until = 60
            store.put(kept, store.epoch)
    one.soft_purge(["one"])
    one.purge(["two"])
    for store in stores:
        found = [store.find(target, {}) for target in ("/a", "/b", "/c")]
        assert [kept and kept.fresh_until for kept in found] == [0, None, 60]


def test_a_redis_that_answers_reads_but_refuses_writes_is_not_trusted(server: RedisServer) -> None:
    now = 0.0
    one, two = (RedisInvalidatedStore(100_000, server.url, lambda: now) for _ in range(2))
    for store in (one, two):
        store.apply_invalidations()
        keep(store, "/a", "one")
    with redis.Redis.from_url(server.url) as administrator:
        administrator.config_set("min-replicas-to-write", 1)
        assert administrator.get(NUMBER)
        one.purge(["one"])
        for store in (one, two):
            with pytest.raises(StoreUnavailable):
                store.find("/a", {})
        administrator.config_set("min-replicas-to-write", 0)
    now += redis_invalidation.PAUSE
    assert two.find("/a", {}) is None
    keep(two, "/b", "one")
    one.apply_invalidations()
    assert two.find("/b", {}) is None


def test_many_purges_that_were_not_told_purge_everything(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_invalidation, "MAX_UNPUBLISHED", 3)
    one, two = (RedisInvalidatedStore(100_000, server.url, lambda: 0) for _ in range(2))
    server.stop()
    for number in range(10):
        one.purge([f"t{number}"])
    assert len(one._unpublished) <= 3
    server.start()
    two.apply_invalidations()
    keep(two, "/a", "unknown")
    one.purge(["more"])
    assert two.find("/a", {}) is None


# The whole gateway


@pytest.fixture
def book(posts: Upstream) -> Book:
    posts.behaviour = book = Book()
    return book


@pytest.fixture
def two(book: Book, start_gateway: StartGateway, server: RedisServer) -> tuple[WsgiClient, WsgiClient]:
    return start_gateway(REDIS_URL=server.url), start_gateway(REDIS_URL=server.url)


def verdict(client: WsgiClient) -> str | None:
    return client.get(URL).header("X-Cache")


def test_a_write_through_one_gateway_shows_through_the_other(two: tuple[WsgiClient, WsgiClient], book: Book) -> None:
    assert [verdict(client) for client in (*two, *two)] == ["MISS", "MISS", "HIT", "HIT"]
    for turn in range(2, 12):
        two[turn % 2].request("PATCH", URL, as_user(), b"{}")
        assert [client.get(URL).body for client in two] == [str(turn).encode()] * 2
    assert [verdict(client) for client in two] == ["HIT", "HIT"]


def test_a_write_to_a_service_of_which_nothing_is_kept_costs_redis_nothing(
    two: tuple[WsgiClient, WsgiClient], server: RedisServer
) -> None:
    two[0].request("PATCH", URL, as_user(), b"{}")
    with redis.Redis.from_url(server.url) as looking:
        before = looking.get(NUMBER)
        assert two[0].request("PATCH", "/api/auth/me", as_user(), b"{}").status == 200
        assert looking.get(NUMBER) == before is not None


def test_a_read_through_one_does_not_bring_back_what_a_write_through_the_other_changed(
    two: tuple[WsgiClient, WsgiClient], book: Book
) -> None:
    book.slow.set()
    reading = threading.Thread(target=two[0].get, args=(URL,))
    reading.start()
    assert book.looked.wait(5)
    book.slow.clear()
    two[1].request("PATCH", URL, as_user(), b"{}")
    bodies: list[bytes] = []
    own = threading.Thread(target=lambda: bodies.append(two[0].get(URL).body))
    own.start()
    book.go_on.set()
    own.join(5)
    reading.join(5)
    assert [*bodies, two[0].get(URL).body] == [b"2", b"2"]


def test_without_redis_reads_pass_the_cache_by_and_nothing_stale_comes_back_with_it(
    two: tuple[WsgiClient, WsgiClient], book: Book, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_invalidation, "PAUSE", 0.05)
    for client in (*two, *two):
        client.get(URL)
    server.stop()
    assert (verdict(two[0]), two[0].get(URL).body) == ("BYPASS", b"1")
    assert two[0].request("PATCH", URL, as_user(), b"{}").status == 200
    server.start()
    assert two[1].get(URL).body == b"2"
    wait_until(lambda: [verdict(client) for client in two] == ["HIT", "HIT"])
    assert [client.get(URL).body for client in two] == [b"2", b"2"]


def test_a_redis_that_hangs_holds_nobody_up_for_long(
    impatient: None, two: tuple[WsgiClient, WsgiClient], book: Book, server: RedisServer
) -> None:
    for client in (*two, *two):
        client.get(URL)
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert two[0].request("PATCH", URL, as_user(), b"{}").status == 200
        for _ in range(10):
            assert (verdict(two[0]), two[0].get(URL).body) == ("BYPASS", b"2")
    finally:
        server.process.send_signal(signal.SIGCONT)
    wait_until(lambda: two[1].get(URL).body == b"2")


def test_no_writer_reads_back_an_older_page_through_any_gateway(
    posts: Upstream, start_gateway: StartGateway, server: RedisServer
) -> None:
    gateways = [start_gateway(REDIS_URL=server.url) for _ in range(2)]
    posts.behaviour = service = Counting()
    stop = threading.Event()
    readers = [threading.Thread(target=read_until, args=(stop, gateways[n % 2], n)) for n in range(3)]
    for thread in readers:
        thread.start()
    with ThreadPoolExecutor(4) as writers:
        work = partial(write_and_read_back, gateways[0], elsewhere=gateways[1])
        mistakes = [found for each in writers.map(work, range(4)) for found in each]
    stop.set()
    for thread in readers:
        thread.join(5)
    assert mistakes == []
    assert service.numbers == {"1": 60, "2": 60}
