"""A circuit breaker for each service."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from shared.problems import Problem
from shared.telemetry.metrics import Counter, Gauge

THRESHOLD = 5  # failures in a row
PAUSE = 5.0  # seconds
LONGEST_PAUSE = 30.0
OPEN = Gauge("gateway_breaker_open", "Gateway processes whose circuit breaker for this service is open.", "upstream")
OPENINGS = Counter("gateway_breaker_openings_total", "Times that the circuit breaker of a service opened.", "upstream")
T = TypeVar("T")
_logger = logging.getLogger("postern.breaker")


class CircuitBreaker:
    """A circuit breaker: closed it admits all requests, open none, half-open (after its pause) one probe.

    Each admitted request gets a ticket: the number of times that the breaker had opened or closed. The outcome of a
    request with an old ticket is ignored, since it says nothing about the service now.

    Example: five requests in a row fail, and the breaker opens for 5 s. A sixth that started before fails too; its
    ticket is old. After 5 s one request is admitted. If it fails, the breaker opens for 10 s, then for 20 s, then for
    30 s.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._period = 0
        self._failures = 0
        self._open = False
        self._probing = False
        self._pause = PAUSE
        self._until = 0.0
        OPEN.set(0, name)

    @property
    def state(self) -> str:
        """Return `closed`, `open`, or `half-open` while a probe may start or runs."""
        if not self._open:
            return "closed"
        return "half-open" if self._clock() >= self._until else "open"

    def call(self, send: Callable[[], T], is_failure: Callable[[BaseException], bool]) -> T:
        """Return what `send` returns, and record its outcome; raise SERVICE_UNAVAILABLE while the breaker is open."""
        ticket = self.admit()
        try:
            result = send()
        except BaseException as error:
            (self.fail if is_failure(error) else self.abandon)(ticket)
            raise
        self.succeed(ticket)
        return result

    def admit(self) -> int:
        """Return a ticket for one outcome; raise SERVICE_UNAVAILABLE while the breaker is open."""
        with self._lock:
            if self._open:
                left = self._until - self._clock()
                if left > 0 or self._probing:
                    raise self._refusal(left)
                self._probing = True
            return self._period

    def succeed(self, ticket: int) -> None:
        """Record that the service sent a valid response, of any status."""
        with self._lock:
            if ticket != self._period:
                return
            self._failures = 0
            if self._open:
                self._period += 1
                self._open = self._probing = False
                self._pause = PAUSE
                OPEN.set(0, self._name)
                _logger.warning("the %s service answers again", self._name)

    def fail(self, ticket: int) -> None:
        """Record that the service was down, too slow, or sent no valid response."""
        with self._lock:
            if ticket != self._period:
                return
            self._failures += 1
            if self._open:
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            if self._open or self._failures >= THRESHOLD:
                self._trip()

    def abandon(self, ticket: int) -> None:
        """Record that the request ended without an outcome for the service."""
        with self._lock:
            if ticket == self._period:
                self._probing = False

    def _trip(self) -> None:
        self._period += 1
        self._open, self._probing = True, False
        self._failures = 0
        self._until = self._clock() + self._pause
        OPEN.set(1, self._name)
        OPENINGS.add(self._name)
        _logger.warning("the %s service fails; it is left alone for %d s", self._name, self._pause)

    def _refusal(self, left: float) -> Problem:
        wait = max(1, math.ceil(left))
        return Problem("SERVICE_UNAVAILABLE", f"The {self._name} service does not work at the moment.", retryAfter=wait)
