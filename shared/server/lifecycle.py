"""The callbacks of an application in the life of a worker process."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from shared.telemetry.request_id import WsgiApp

if TYPE_CHECKING:  # it loads Flask, which gevent has to patch before
    from shared.server.admission import Admission

KEY = "postern"  # in the extensions of a Flask app
Callback = Callable[[], object]


class Lifecycle:
    """The callbacks of each worker process, and the parts of the application that the server uses.

    `on_start` is called after the fork, `on_drain` when another process takes over, `on_stop` before the worker waits
    for the last requests (it ends streams), `on_exit` after them. `admission` is the admission control of expensive
    views. `refuse` is the WSGI application for requests that the server refuses.
    """

    def __init__(self, public_url: str = "") -> None:
        self.public_url = public_url
        self.admission: Admission | None = None
        self.refuse: WsgiApp | None = None
        self.on_start: list[Callback] = []
        self.on_drain: list[Callback] = []
        self.on_stop: list[Callback] = []
        self.on_exit: list[Callback] = []


def lifecycle_of(wsgi: object) -> Lifecycle:
    """Return the lifecycle of a WSGI application, an empty one if it is not ours."""
    return cast(Lifecycle, getattr(wsgi, "extensions", {}).get(KEY) or Lifecycle())
