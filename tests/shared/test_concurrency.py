"""Bulkheads: how many requests run an expensive operation at once, in which order others wait, and how long."""

import threading
import time
from contextlib import ExitStack

import gevent
import pytest

from shared.concurrency import Bulkhead
from shared.problems import Problem


def bulkhead(places=1, patience=5.0, **options):
    return Bulkhead(places, patience=patience, detail="Too many.", **options)


def queue_up(head, client, order, label):
    """Start a thread that waits for a place of the client, and return it once it waits."""

    def run():
        with head.place(client):
            order.append(label)

    before = head._waiting
    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: head._waiting > before)
    return thread


def until(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_that_no_more_than_its_places_are_held_at_once():
    head = bulkhead(places=3)
    held: list[None] = []
    most: list[int] = []

    def run():
        with head.place():
            held.append(None)
            most.append(len(held))
            time.sleep(0.005)
            held.pop()

    threads = [threading.Thread(target=run) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 3
    assert len(most) == 20


def test_that_clients_take_turns_however_many_requests_one_of_them_has_waiting():
    head = bulkhead()
    order: list[str] = []
    with head.place("a"):
        threads = [queue_up(head, "a", order, f"a{n}") for n in range(3)]
        threads += [queue_up(head, "b", order, "b0"), queue_up(head, "c", order, "c0")]
    for thread in threads:
        thread.join()
    assert order == ["a0", "b0", "c0", "a1", "a2"]


def test_that_a_client_at_its_own_limit_leaves_free_places_to_others():
    head = bulkhead(places=2, patience=0.01, per_client=1)
    with head.place("a"):
        with pytest.raises(Problem):
            head.acquire("a")
        with head.place("b"):
            pass


def test_that_clients_without_a_common_limit_do_not_wait_for_each_other():
    head = bulkhead(places=None, patience=0.01, per_client=1)
    with ExitStack() as stack:
        for n in range(50):
            stack.enter_context(head.place(f"client {n}"))


def test_that_waiting_ends_with_the_code_and_a_time_to_come_back():
    head = bulkhead(patience=0.01, code="RATE_LIMITED")
    with head.place(), pytest.raises(Problem) as refusal:
        head.acquire()
    assert (refusal.value.code, refusal.value.detail) == ("RATE_LIMITED", "Too many.")
    assert refusal.value.members["retryAfter"] in (1, 2)
    assert head._waiting == 0
    with head.place():
        pass


def test_that_the_time_to_come_back_grows_with_the_queue_and_is_spread():
    head = bulkhead()
    head.acquire()
    head.release(held=100.0)  # the average becomes 20 s
    order: list[int] = []
    told: set[int] = set()
    with head.place():
        threads = [queue_up(head, "", order, n) for n in range(4)]
        for _ in range(50):
            with pytest.raises(Problem) as refusal:
                head.acquire(patience=0)
            told.add(refusal.value.members["retryAfter"])
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]
    assert min(told) >= 100
    assert max(told) <= 200
    assert len(told) > 5


def test_that_nobody_waits_without_patience():
    head, begin = bulkhead(patience=0), time.monotonic()
    with head.place(), pytest.raises(Problem):
        head.acquire()
    assert time.monotonic() - begin < 4


def test_that_a_place_comes_back_when_the_block_fails():
    head = bulkhead(patience=0)
    with pytest.raises(ZeroDivisionError), head.place("a"):
        raise ZeroDivisionError
    with head.place("b"):
        pass


def test_that_one_whose_wait_is_interrupted_leaves_the_queue(monkeypatch):
    head = bulkhead()

    def interrupted(self, timeout):
        raise gevent.GreenletExit

    with head.place():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Event, "wait", interrupted)
            with pytest.raises(gevent.GreenletExit):
                head.acquire("b")
        assert head._waiting == 0
    with head.place("c"):
        pass


def test_that_a_place_granted_to_one_who_was_interrupted_goes_to_the_next(monkeypatch):
    head = bulkhead()
    head.acquire("a")

    def interrupted(self, timeout):
        head.release("a")
        raise gevent.GreenletExit

    with monkeypatch.context() as patch:
        patch.setattr(threading.Event, "wait", interrupted)
        with pytest.raises(gevent.GreenletExit):
            head.acquire("b")
    with head.place("c"):
        pass
