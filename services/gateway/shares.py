"""Let no client hold all threads of a service: whoever reads or sends slowly holds one for as long."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from shared.problems import Problem

SHARE = 8  # requests of one client to a service that streams, which has 32 threads
WAITING = 32  # bodies of one client that wait at the gateway, on its disk, until they are whole
PATIENCE = 10.0  # seconds that another one waits


@dataclass(slots=True)
class Share:
    """The places of one client, and how many of its requests have or want one."""

    places: threading.Semaphore
    users: int = 0


class Shares:
    """The shares of the clients that have requests under way, each so many at a time."""

    def __init__(self, size: int = SHARE) -> None:
        self._size = size
        self._shares: dict[str, Share] = {}
        self._lock = threading.Lock()

    def take(self, client: str) -> None:
        """Wait for a place of the client; raise RATE_LIMITED when none gets free."""
        with self._lock:
            share = self._shares.setdefault(client, Share(threading.Semaphore(self._size)))
            share.users += 1
        if not share.places.acquire(timeout=PATIENCE):
            self._leave(client, share)
            raise Problem("RATE_LIMITED", f"{self._size} slow requests of yours are under way already.", retryAfter=1)

    def give(self, client: str) -> None:
        share = self._shares[client]
        share.places.release()
        self._leave(client, share)

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """Hold a place of the client while the block runs; raise RATE_LIMITED."""
        self.take(client)
        try:
            yield
        finally:
            self.give(client)

    def _leave(self, client: str, share: Share) -> None:
        with self._lock:
            share.users -= 1
            if not share.users:
                del self._shares[client]
