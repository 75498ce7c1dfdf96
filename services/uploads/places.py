"""Let only so many do at once what is dear."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, Semaphore

from shared.problems import Problem


@contextmanager
def place(places: "Semaphore | Lock", patience: float, detail: str) -> Iterator[None]:
    """Hold a place while the block runs, and wait so many seconds for it; raise SERVICE_UNAVAILABLE with the detail."""
    if not places.acquire(timeout=patience):
        raise Problem("SERVICE_UNAVAILABLE", detail, retryAfter=5)
    try:
        yield
    finally:
        places.release()
