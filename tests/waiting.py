"""Wait for what comes true in its own time, on a machine that may be busy with other tests."""

import os
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 60.0  # seconds; far more than anything takes
TRIES = 3


def wait_until(condition: Any, seconds: float = PATIENCE) -> float:
    """Wait for a condition and return the seconds it took; fail when it does not come true in time."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, "it did not come true in time"
        time.sleep(0.02)
    return time.monotonic() - started


def assert_within(seconds: float, measure: Callable[[], float]) -> None:
    """Hold a promise of time: one of three measurements keeps to it, the others may have met a busy machine.

    Where more programs want to run than there are processors, seconds are longer.
    """
    took: list[float] = []
    while not took or took[-1] > seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)):
        assert len(took) < TRIES, f"it took {took} seconds, not {seconds}"
        took.append(measure())
