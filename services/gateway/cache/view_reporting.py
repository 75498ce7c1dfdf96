"""Report views of cached posts to the service that counts views."""

import threading

from services.gateway.config import Config
from services.gateway.routes import SERVICES
from shared.feed.service_client import InternalClient
from shared.periodic_task import PeriodicTask

PAUSE = 1.0  # seconds between two batches
BATCH = 1000
MAX_QUEUED = 20_000  # views; further ones are dropped while the service is down


class ViewReporter(PeriodicTask):
    """The queue of views of this process, sent in batches.

    A viewer is the client's address, as in a read that reaches posts. Posts counts each viewer once an hour, so a view
    that is sent twice counts once.
    """

    def __init__(self, config: Config) -> None:
        super().__init__("handing over of views", PAUSE, self.send)
        (service,) = (name for name, upstream in SERVICES.items() if upstream.counts_views)
        self._client = InternalClient(config.upstreams[service], config.internal_token)
        self._queue: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def note(self, post: str, viewer: str) -> None:
        """Queue a view of a post; never block or raise."""
        with self._lock:
            if viewer and len(self._queue) < MAX_QUEUED:
                self._queue.add((post, viewer))

    def stop(self) -> None:
        """End the thread, and hand over what is left."""
        super().stop()
        self._works()

    def send(self) -> None:
        """Send the queue; views that cannot be sent stay queued."""
        with self._lock:
            queued, self._queue = self._queue, set()
        views = [{"post": post, "viewer": viewer} for post, viewer in queued]
        for start in range(0, len(views), BATCH):
            some = views[start : start + BATCH]
            try:
                self._client.post_json("/internal/views", some)
            except BaseException:
                with self._lock:
                    left = [(view["post"], view["viewer"]) for view in views[start:]]
                    self._queue.update(left[: MAX_QUEUED - len(self._queue)])
                raise
