"""Bulkhead: limit how many requests run an expensive operation at the same time."""

import math
import secrets
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock
from time import monotonic
from typing import Protocol

from shared.problems import Problem

_SMOOTHING = 0.2  # weight of the newest sample in the average time that a place is held


class Signal(Protocol):
    """The part of `threading.Event` that wakes a waiting request."""

    def set(self) -> None: ...

    def is_set(self) -> bool: ...


class Bulkhead:
    """Places for an expensive operation, with a fair queue and a bounded wait.

    `places` limits all clients together, `per_client` each of them; None is no limit. A free place goes to the
    clients in turn, so a client with 100 waiting requests delays another client by one of them, not by 100.
    Waiting ends after `patience` seconds with `code`.
    """

    def __init__(
        self,
        places: int | None,
        *,
        patience: float,
        detail: str,
        per_client: int | None = None,
        code: str = "SERVICE_UNAVAILABLE",
    ) -> None:
        self._places = places
        self.patience = patience
        self._detail = detail
        self._per_client = per_client
        self._code = code
        self._lock = Lock()
        self._held: Counter[str] = Counter()  # places by client
        self._queues: OrderedDict[str, deque[Signal]] = OrderedDict()  # waiting requests by client, next client first
        self._waiting = 0
        self._average_hold = 0.0  # seconds

    @contextmanager
    def place(self, client: str = "", patience: float | None = None) -> Iterator[None]:
        """Hold a place for the client while the block runs; raise a problem with `retryAfter` when none gets free.

        `patience` is for how many seconds this request waits, if not as long as others.
        """
        self.acquire(client, patience)
        begin = monotonic()
        try:
            yield
        finally:
            self.release(client, monotonic() - begin)

    def acquire(self, client: str = "", patience: float | None = None) -> None:
        """Acquire a place, which `release` frees, perhaps in another thread; raise like `place`."""
        with self._lock:
            if self._take(client):
                return
        granted = Event()
        if self.join(client, granted):
            return
        try:
            granted.wait(self.patience if patience is None else max(patience, 0))
        except BaseException:  # of gevent, which ends a greenlet with an exception where it waits
            if not self.leave(client, granted):
                self.release(client)
            raise
        if refusal := self.leave(client, granted):
            raise refusal

    def release(self, client: str = "", held: float | None = None) -> None:
        """Release a place that was held for `held` seconds."""
        with self._lock:
            if held is not None:
                self._average_hold += _SMOOTHING * (held - self._average_hold)
            self._held[client] -= 1
            if not self._held[client]:
                del self._held[client]
            self._grant_next()

    def join(self, client: str, granted: Signal) -> bool:
        """Acquire a free place and return True, or join the queue: `granted` is set when the place is granted."""
        with self._lock:
            if self._take(client):
                return True
            if self.patience <= 0:
                raise self._refusal()
            self._queues.setdefault(client, deque()).append(granted)
            self._waiting += 1
            return False

    def leave(self, client: str, granted: Signal) -> Problem | None:
        """Leave the queue and return the refusal; None when the place was granted, perhaps after the time-out."""
        with self._lock:
            if granted.is_set():
                return None
            self._dequeue(client, granted)
            return self._refusal()

    def _take(self, client: str) -> bool:
        if not self._has_place(client):  # otherwise nobody waits who could take it: `release` would have granted it
            return False
        self._held[client] += 1
        return True

    def _has_place(self, client: str) -> bool:
        if self._per_client is not None and self._held[client] >= self._per_client:
            return False
        return self._places is None or self._held.total() < self._places

    def _grant_next(self) -> None:
        for client in self._queues:
            if self._has_place(client):
                granted = self._queues[client][0]
                self._dequeue(client, granted)
                if client in self._queues:
                    self._queues.move_to_end(client)
                self._held[client] += 1
                granted.set()
                return

    def _dequeue(self, client: str, granted: Signal) -> None:
        queue = self._queues[client]
        queue.remove(granted)
        self._waiting -= 1
        if not queue:
            del self._queues[client]

    def _refusal(self) -> Problem:
        """Return the problem; its `retryAfter` is the estimated wait, spread so that clients do not return at once."""
        at_once = self._places or self._per_client or 1
        estimate = max(1.0, self._average_hold * (self._waiting + 1) / at_once)
        spread = 1 + secrets.randbelow(1000) / 1000
        return Problem(self._code, self._detail, retryAfter=math.ceil(estimate * spread))
