"""The callbacks of an application for the life of a worker process, and what the server needs of it."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from shared.telemetry.request_id import WsgiApp

if TYPE_CHECKING:  # it loads Flask, which gevent has to patch before
    from shared.server.admission import Admission

KEY = "postern"  # in the extensions of a Flask app
Callback = Callable[[], object]


class Lifecycle:
    """Callbacks of every worker process, and what the server needs of the application.

    `on_start` is called after the fork, `on_drain` when another process takes over, `on_stop` before the last requests
    are waited for (it ends streams), `on_exit` after them. `admission` lets requests to expensive views wait before
    they take a thread. `refuse` is the application that answers requests which the server refuses.
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
    """Return the lifecycle of what a server calls; an empty one when it is no app of ours."""
    return cast(Lifecycle, getattr(wsgi, "extensions", {}).get(KEY) or Lifecycle())
