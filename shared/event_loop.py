"""Let a long computation on an event loop give way to the other clients; where threads serve them this does nothing."""

import time
from collections.abc import Callable
from typing import TypeVar

SLICE = 0.01  # seconds that the loop may stand still
MAX_TURNS = 50  # that somebody waits for a slice, even if none comes
FEW = 512  # bytes of a small piece
FEW_PIECES = 32  # small ones, more than others, that are received as they come
NAP = 0.01  # seconds between two pieces after that
HEARTBEAT = 1.0  # seconds between two signs of life to the master
# A sleep of zero seconds would not do: gevent then runs what is ready again, before it looks at any socket.
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
    """Note each turn of the loop of this thread; `notify` is the sign of life that `yield_if_due` gives."""
    from gevent import get_hub  # here, since gevent patches after the fork, and only in workers that use it

    _loop.is_watched, _loop.notify = True, notify
    _loop.note_turn()
    get_hub().loop.check(ref=False).start(_loop.note_turn)


def yield_if_due() -> None:
    """Let the loop turn once when it stands still for too long: call this in every loop over input from outside."""
    if _is_due():
        take_turn()


def wait_for_slice() -> None:
    """Wait for a turn of the loop in which nobody else has computed: call this before what cannot be interrupted.

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
    # With thousands of clients that all compute, one turn of the loop may take longer than the master waits.
    if time.monotonic() - _loop.notified > HEARTBEAT:
        _loop.notified = time.monotonic()
        _loop.notify()
    time.sleep(_NEXT_TURN)


def run_beside(compute: Callable[[], Result]) -> Result:
    """Return the result of a computation that a thread makes, so that the loop turns meanwhile; it must not raise."""
    if not _loop.is_watched:
        return compute()
    from gevent import get_hub

    result: Result = get_hub().threadpool.apply(compute)
    return result


class PieceThrottle:
    """Let bytes gather of a peer that sends few at a time, since each time that we wake costs more than they do."""

    def __init__(self) -> None:
        self._small_pieces = 0

    def reset(self) -> None:
        self._small_pieces = 0

    def wait(self) -> None:
        """Wait before the next piece is received, if many before it were small."""
        if self._small_pieces >= FEW_PIECES:
            time.sleep(NAP)

    def note(self, size: int) -> None:
        change = 1 if size < FEW else -1
        self._small_pieces = min(max(self._small_pieces + change, 0), FEW_PIECES)
