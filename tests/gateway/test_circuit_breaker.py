import threading
import time
from dataclasses import replace

import pytest

from services.gateway.proxy.circuit_breaker import LONGEST_PAUSE, PAUSE, THRESHOLD, CircuitBreaker
from services.gateway.proxy.connection_pool import ConnectionPool
from services.gateway.proxy.forward import forward
from shared.problems import Problem
from tests.gateway.forwarding import PoolTo, Start, a_request, body_of, read
from tests.gateway.upstreams import Behaviour, Line, Upstream, echo, hold, response, say
from tests.gateway.wsgi_client import WsgiClient


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("test", clock)


def test_a_request_in_a_hurry_blames_nobody(pool_to: PoolTo) -> None:
    pool, breaker = pool_to(hold()), CircuitBreaker("test")
    for _ in range(THRESHOLD):
        with pytest.raises(Problem, match="GATEWAY_TIMEOUT"):
            forward(pool, replace(a_request(first_byte=0.01), has_waited=True), breaker)
    assert breaker.state == "closed"


def fail(breaker: CircuitBreaker, times: int = THRESHOLD) -> None:
    for _ in range(times):
        breaker.fail(breaker.admit())


def refusal(breaker: CircuitBreaker) -> Problem:
    with pytest.raises(Problem) as caught:
        breaker.admit()
    assert caught.value.code == "SERVICE_UNAVAILABLE"
    return caught.value


def test_it_opens_after_five_failures_in_a_row_and_not_before(breaker: CircuitBreaker) -> None:
    fail(breaker, THRESHOLD - 1)
    breaker.succeed(breaker.admit())
    fail(breaker, THRESHOLD - 1)
    assert breaker.state == "closed"
    fail(breaker, 1)
    assert breaker.state == "open"
    assert refusal(breaker).members["retryAfter"] == PAUSE


def test_it_says_how_long_is_left(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += 3.2
    assert refusal(breaker).members["retryAfter"] == 2


def test_after_its_pause_one_request_is_a_probe_and_its_success_closes(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE
    assert breaker.state == "half-open"
    probe = breaker.admit()
    assert refusal(breaker).members["retryAfter"] == 1
    breaker.succeed(probe)
    assert breaker.state == "closed"
    fail(breaker, THRESHOLD - 1)
    assert breaker.state == "closed"


def test_each_failed_probe_doubles_the_pause_up_to_a_bound_and_a_success_resets_it(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker)
    for pause in (PAUSE, 2 * PAUSE, 4 * PAUSE, LONGEST_PAUSE, LONGEST_PAUSE):
        clock.now += pause - 0.1
        refusal(breaker)
        clock.now += 0.1
        fail(breaker, 1)
    clock.now += LONGEST_PAUSE
    breaker.succeed(breaker.admit())
    fail(breaker)
    assert refusal(breaker).members["retryAfter"] == PAUSE


def test_failures_that_were_under_way_when_it_opened_count_once(breaker: CircuitBreaker, clock: Clock) -> None:
    tickets = [breaker.admit() for _ in range(40)]
    for ticket in tickets:
        breaker.fail(ticket)
    assert refusal(breaker).members["retryAfter"] == PAUSE
    late = tickets[-1]
    clock.now += PAUSE
    probe = breaker.admit()
    breaker.fail(late)
    breaker.succeed(late)
    assert breaker.state == "half-open"
    breaker.succeed(probe)
    for _ in range(THRESHOLD):
        breaker.fail(late)
    assert breaker.state == "closed"


def test_a_probe_that_says_nothing_leaves_its_place_to_the_next(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker)
    clock.now += PAUSE
    breaker.abandon(breaker.admit())
    breaker.succeed(breaker.admit())
    assert breaker.state == "closed"


def reset(line: Line) -> None:
    line.read()
    line.reset()


@pytest.mark.parametrize("behaviour", [reset, lambda line: None, say(b"garbage"), hold()])
def test_what_a_broken_service_does_opens_it(pool_to: PoolTo, breaker: CircuitBreaker, behaviour: Behaviour) -> None:
    pool = pool_to(behaviour)
    for _ in range(THRESHOLD):
        with pytest.raises(Problem):
            forward(pool, a_request(first_byte=0.1), breaker)
    assert breaker.state == "open"
    with pytest.raises(Problem) as caught:
        forward(pool, a_request(), breaker)
    assert caught.value.code == "SERVICE_UNAVAILABLE"


def test_a_refused_connection_opens_it(serve: Start, breaker: CircuitBreaker) -> None:
    upstream = serve(echo)
    pool = ConnectionPool("test", upstream.url)
    upstream.stop_listening()
    for _ in range(THRESHOLD):
        with pytest.raises(Problem):
            forward(pool, a_request(), breaker)
    assert breaker.state == "open"


def test_an_error_that_the_service_answers_does_not(pool_to: PoolTo, breaker: CircuitBreaker) -> None:
    pool = pool_to(say(response(b"oh", "500 Internal Server Error")))
    for _ in range(2 * THRESHOLD):
        assert read(forward(pool, a_request(), breaker)) == b"oh"
    assert breaker.state == "closed"


def test_a_client_that_sends_nonsense_does_not(pool_to: PoolTo, breaker: CircuitBreaker) -> None:
    pool = pool_to(echo)
    for _ in range(2 * THRESHOLD):
        with pytest.raises(Problem) as caught:
            forward(pool, a_request("POST", headers=[("a", "b\nc")], body=body_of(b"x")), breaker)
        assert caught.value.code == "BAD_REQUEST"
    assert breaker.state == "closed"


def test_a_dead_service_is_answered_for_at_once_and_the_others_work(
    client: WsgiClient, posts: Upstream, uploads: Upstream
) -> None:
    posts.behaviour = reset
    for _ in range(THRESHOLD):
        assert client.get("/api/posts").code == "BAD_GATEWAY"
    asked = len(posts.received) + posts.connections
    answer = client.get("/api/posts")
    assert (answer.status, answer.code) == (503, "SERVICE_UNAVAILABLE")
    assert answer.header("Retry-After") == str(answer.json["retryAfter"]) == "5"
    assert len(posts.received) + posts.connections == asked
    assert client.get("/api/files/u/a.png").status == 200
    posts.behaviour = echo
    checks = client.get("/api/health").json["data"]["checks"]
    assert (checks["posts"]["breaker"], checks["uploads"]["breaker"]) == ("open", "closed")


def test_requests_to_a_hung_service_take_no_connection_of_the_others(
    client: WsgiClient, posts: Upstream, uploads: Upstream
) -> None:
    posts.behaviour = hold()
    waiting = [threading.Thread(target=client.get, args=("/api/posts",)) for _ in range(30)]
    for thread in waiting:
        thread.start()
    started = time.monotonic()
    assert client.get("/api/files/u/a.png").status == 200
    assert time.monotonic() - started < 4
    posts.hang_up()
    posts.stop_listening()
    for thread in waiting:
        thread.join(10)
    assert client.get("/api/posts").code == "SERVICE_UNAVAILABLE"
