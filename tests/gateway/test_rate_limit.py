import logging
import threading

import pytest
import redis

from services.gateway.rate_limit.classes import CLASSES, LimitClass, Verdict
from services.gateway.rate_limit.memory import MemoryWindow
from services.gateway.rate_limit.redis import FallbackWindow, RedisWindow
from tests.ports import free_port

THREE = LimitClass("three", 3, 10)


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "name, quota, window",
    [
        ("general", 100, 60),
        ("files", 1000, 60),
        ("login", 10, 60),
        ("register", 5, 60),
        ("auth", 10, 60),
        ("refresh", 100, 60),
        ("upload", 20, 3600),
        ("admin", 50, 60),
        ("expensive", 10, 3600),
    ],
)
def test_the_classes_are_the_contracts(name: str, quota: int, window: int) -> None:
    assert (CLASSES[name].quota, CLASSES[name].window) == (quota, window)


def test_the_quota_is_allowed_and_not_one_more() -> None:
    window = MemoryWindow(clock=Clock())
    assert [window.hit(THREE, "a").allowed for _ in range(5)] == [True, True, True, False, False]
    assert window.hit(THREE, "b").allowed


def test_the_window_moves_with_each_request() -> None:
    clock = Clock()
    window = MemoryWindow(clock=clock)
    allowed = []
    for moment in (0, 4, 8, 9.9, 10, 13.9, 14, 14, 18, 18):
        clock.now = 1000 + moment
        allowed.append(window.hit(THREE, "a").allowed)
    assert allowed == [True, True, True, False, True, False, True, False, True, False]


def test_it_tells_what_is_left_and_when_the_next_frees() -> None:
    clock = Clock()
    window = MemoryWindow(clock=clock)
    first = window.hit(THREE, "a")
    assert (first.remaining, first.reset) == (2, 10)
    clock.now += 3.5
    second = window.hit(THREE, "a")
    assert (second.remaining, second.reset) == (1, 7)
    window.hit(THREE, "a")
    clock.now += 6.4
    refused = window.hit(THREE, "a")
    assert (refused.allowed, refused.remaining, refused.reset) == (False, 0, 1)


def test_what_is_given_back_is_not_counted() -> None:
    window = MemoryWindow(clock=Clock())
    for _ in range(10):
        assert window.hit(THREE, "a").remaining == 2
        window.refund(THREE, "a")
    assert window.storage.export()["three"] == {}
    window.refund(THREE, "a")
    assert [window.hit(THREE, "a").allowed for _ in range(4)] == [True, True, True, False]


def test_classes_do_not_share_a_count() -> None:
    window = MemoryWindow(clock=Clock())
    for _ in range(3):
        window.hit(THREE, "a")
    assert window.hit(LimitClass("other", 3, 10), "a").allowed


def test_quiet_keys_are_forgotten_and_their_number_is_bounded() -> None:
    clock = Clock()
    window = MemoryWindow(max_keys=100, clock=clock)
    for number in range(250):
        window.hit(THREE, f"k{number}")
    assert len(window.storage.export()["three"]) == 100
    clock.now += 11
    for _ in range(100):
        window.hit(LimitClass("three", 1000, 10), "last")
    assert [key.split("/")[1] for key in window.storage.export()["three"]] == ["last"]


def test_a_busy_key_is_not_forgotten_for_quiet_ones() -> None:
    window = MemoryWindow(max_keys=10, clock=Clock())
    for number in range(30):
        window.hit(LimitClass("three", 1000, 10), "busy")
        window.hit(THREE, f"k{number}")
    assert window.hit(LimitClass("three", 1000, 10), "busy").remaining == 1000 - 31


def test_threads_together_get_the_quota_and_not_one_more() -> None:
    window, many = MemoryWindow(), LimitClass("many", 500, 60)
    allowed: list[bool] = []
    threads = [
        threading.Thread(target=lambda: allowed.extend(window.hit(many, "a").allowed for _ in range(200)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == 500


def test_both_header_families_say_the_same() -> None:
    verdict = Verdict(CLASSES["general"], allowed=True, remaining=57, reset=21)
    assert verdict.headers() == [
        ("RateLimit-Policy", '"general";q=100;w=60'),
        ("RateLimit", '"general";r=57;t=21'),
        ("X-RateLimit-Limit", "100"),
        ("X-RateLimit-Remaining", "57"),
        ("X-RateLimit-Reset", "21"),
    ]


def test_a_refusal_says_when_to_come_back() -> None:
    problem = Verdict(CLASSES["login"], allowed=False, remaining=0, reset=7).problem()
    status, headers, body = problem.answer("/api/auth/login", "r1", "")
    assert status == "429 Too Many Requests"
    assert dict(headers)["Retry-After"] == "7"
    assert b'"violated-policies":["login"]' in body


class Broken:
    """A window whose store is down."""

    calls = 0

    def hit(self, limit: LimitClass, key: str) -> Verdict:
        self.calls += 1
        raise redis.ConnectionError("down")

    def refund(self, limit: LimitClass, key: str) -> None:
        self.calls += 1
        raise redis.ConnectionError("down")


def test_without_its_store_the_limit_still_holds_with_one_warning_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock, broken = Clock(), Broken()
    window = FallbackWindow(broken, MemoryWindow(clock=clock), clock)
    with caplog.at_level(logging.WARNING):
        assert [window.hit(THREE, "a").allowed for _ in range(4)] == [True, True, True, False]
        assert broken.calls == 1  # a store that is down is not asked by every request
        clock.now += 30
        window.hit(THREE, "a")
        assert broken.calls == 2
        assert len(caplog.records) == 1
        clock.now += 31
        window.hit(THREE, "a")
        assert len(caplog.records) == 2


def test_without_its_store_is_given_back_what_was_counted_here(caplog: pytest.LogCaptureFixture) -> None:
    clock, broken = Clock(), Broken()
    window = FallbackWindow(broken, MemoryWindow(clock=clock), clock)
    for _ in range(5):
        assert window.hit(THREE, "a").remaining == 2
        window.refund(THREE, "a")
    assert broken.calls == 1
    clock.now += 30
    window.refund(THREE, "a")
    assert broken.calls == 2


def test_a_store_that_refuses_the_connection_is_no_error() -> None:
    window = FallbackWindow(RedisWindow(f"redis://127.0.0.1:{free_port()}"), MemoryWindow())
    assert [window.hit(THREE, "a").allowed for _ in range(4)] == [True, True, True, False]


def test_gateways_with_one_redis_share_one_exact_window(redis_url: str) -> None:
    limit = CLASSES["login"]
    allowed: list[bool] = []
    gateways = [RedisWindow(redis_url) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda g=gateway: allowed.extend(g.hit(limit, "203.0.113.9").allowed for _ in range(5)))
        for gateway in gateways
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(allowed) == limit.quota
    verdict = gateways[0].hit(limit, "203.0.113.9")
    assert (verdict.allowed, verdict.remaining) == (False, 0)
    assert 55 <= verdict.reset <= 60


def test_redis_tells_what_is_left(redis_url: str) -> None:
    window = RedisWindow(redis_url)
    first = window.hit(CLASSES["general"], "b")
    assert (first.allowed, first.remaining, first.reset) == (True, 99, 60)
    assert window.works()


def test_redis_gives_back(redis_url: str) -> None:
    gateways = [RedisWindow(redis_url) for _ in range(2)]
    for gateway in gateways * 10:
        assert gateway.hit(CLASSES["login"], "back").remaining == 9
        gateway.refund(CLASSES["login"], "back")
    gateways[0].refund(CLASSES["login"], "back")
    assert [gateways[1].hit(CLASSES["login"], "back").allowed for _ in range(11)] == [True] * 10 + [False]
