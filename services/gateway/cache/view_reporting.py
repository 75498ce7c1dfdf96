"""Tell the service that counts views who got an answer from the cache."""

import threading

from services.gateway.config import Config
from services.gateway.routes import SERVICES
from shared.feed.service_client import InternalClient
from shared.periodic_task import PeriodicTask

PAUSE = 1.0  # seconds between two batches
BATCH = 1000
MAX_NOTED = 20_000  # views that wait; what comes above while posts is away is not counted


class ViewReporter(PeriodicTask):
    """The views that this process has not handed over yet, and the thread that does.

    A viewer is named as posts itself names one for a read that reaches it, and posts counts each once an hour: so a
    view that is handed over twice, or was counted there already, counts once.
    """

    def __init__(self, config: Config) -> None:
        super().__init__("handing over of views", PAUSE, self.send)
        (service,) = (name for name, upstream in SERVICES.items() if upstream.counts_views)
        self._client = InternalClient(config.upstreams[service], config.internal_token)
        self._noted: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def note(self, post: str, viewer: str) -> None:
        """Remember that somebody looked at a post; it never waits or fails."""
        with self._lock:
            if viewer and len(self._noted) < MAX_NOTED:
                self._noted.add((post, viewer))

    def stop(self) -> None:
        """End the thread, and hand over what is left."""
        super().stop()
        self._works()

    def send(self) -> None:
        """Hand over what is noted; what fails stays noted."""
        with self._lock:
            noted, self._noted = self._noted, set()
        views = [{"post": post, "viewer": viewer} for post, viewer in noted]
        for start in range(0, len(views), BATCH):
            some = views[start : start + BATCH]
            try:
                self._client.post_json("/internal/views", some)
            except BaseException:
                with self._lock:
                    left = [(view["post"], view["viewer"]) for view in views[start:]]
                    self._noted.update(left[: MAX_NOTED - len(self._noted)])
                raise
