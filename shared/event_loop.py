"""Cooperative scheduling on the event loop, so that computations do not block other clients; no-op with threads."""

import time
from collections.abc import Callable
from typing import TypeVar

SLICE = 0.01  # seconds that the loop may be blocked
MAX_TURNS = 50  # of the loop, for which a request waits for a free one
FEW = 512  # bytes of a small piece
FEW_PIECES = 32  # small pieces beyond the number of others, after which a peer is throttled
NAP = 0.01  # seconds between two pieces of a throttled peer
HEARTBEAT = 1.0  # seconds between two heartbeats to the master
# With a sleep of zero, gevent would run ready greenlets again before it polls any socket.
_NEXT_TURN = 1e-9
Result = TypeVar("Result")


class _Loop:
    """The event loop of this process, if there is one."""

    def __init__(self) -> None:
        self.is_watched = False
        self.turned = self.notified = 0.0
        self.notify: Callable[[], None] = lambda: None

    def note_turn(self) -> None:
        self.turned = time.monotonic()


_loop = _Loop()


def watch(notify: Callable[[], None]) -> None:
    """Record each turn of the loop of this thread; `notify` sends a heartbeat to the master."""
    from gevent import get_hub  # here, since gevent patches after the fork, and only in workers that use it

    _loop.is_watched, _loop.notify = True, notify
    _loop.note_turn()
    get_hub().loop.check(ref=False).start(_loop.note_turn)


def yield_if_due() -> None:
    """Yield to the event loop if it is blocked for too long; each loop over input from outside calls this."""
    if _is_due():
        take_turn()


def wait_for_slice() -> None:
    """Wait for a turn of the loop without another computation; call this before one that cannot yield.

    Example: four clients send JSON that takes 40 ms to parse. Without this a turn of the loop may take 160 ms.
    """
    for _ in range(MAX_TURNS):
        if not _is_due():
            return
        take_turn()


def _is_due() -> bool:
    return _loop.is_watched and time.monotonic() - _loop.turned > SLICE


def take_turn() -> None:
    """Let the loop turn once: look at all sockets and timers, and run what is ready."""
    if not _loop.is_watched:
        return
    # With thousands of computing clients, one turn of the loop may take longer than the time-out of the master.
    if time.monotonic() - _loop.notified > HEARTBEAT:
        _loop.notified = time.monotonic()
        _loop.notify()
    time.sleep(_NEXT_TURN)


def run_beside(compute: Callable[[], Result]) -> Result:
    """Run a computation in a native thread, without blocking the loop, and return its result; it must not raise."""
    if not _loop.is_watched:
        return compute()
    from gevent import get_hub

    result: Result = get_hub().threadpool.apply(compute)
    return result


class PieceThrottle:
    """Throttle a peer that sends a few bytes at a time, since each wake-up costs more than reading them."""

    def __init__(self) -> None:
        self._small_pieces = 0

    def reset(self) -> None:
        self._small_pieces = 0

    def wait(self) -> None:
        """Sleep before the next receive if many pieces were small."""
        if self._small_pieces >= FEW_PIECES:
            time.sleep(NAP)

    def note(self, size: int) -> None:
        change = 1 if size < FEW else -1
        self._small_pieces = min(max(self._small_pieces + change, 0), FEW_PIECES)
