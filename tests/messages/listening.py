"""A client of live streams, and a server that gives its connections away as the real one does."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask
from werkzeug.serving import make_server

from services.messages.live_events.sse_server import SseServer
from services.messages.models import database
from shared.service import service_of


@dataclass
class Told:
    """One event as it was sent."""

    id: str
    topic: str
    data: Any


class Listener:
    """One connection to `/api/events`."""

    def __init__(self, port: int, query: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        sent = {name.replace("_", "-"): value for name, value in headers.items()} | {"Connection": "close"}
        try:
            self.connection.request("GET", f"/api/events{query}", headers=sent)
            self.response = self.connection.getresponse()
        except BaseException:
            self.connection.close()
            raise
        self.status = self.response.status
        self.retry: list[int] = []
        self.comments = 0

    def next(self) -> Told | None:
        """Wait for an event; None at the end of the stream."""
        fields: dict[str, str] = {}
        until = time.monotonic() + 30
        while line := self.response.readline():
            assert time.monotonic() < until, "the stream goes on without an event"
            text = line.decode().removesuffix("\n")
            if text.startswith(":"):
                self.comments += 1
            elif text.startswith("retry: "):
                self.retry.append(int(text.removeprefix("retry: ")))
            elif text:
                name, _, fields[name] = text.partition(": ")
            elif fields:
                return Told(fields["id"], fields.get("event", "message"), orjson.loads(fields["data"]))
        return None

    def take(self, count: int) -> list[Told]:
        told = [self.next() for _ in range(count)]
        assert None not in told
        return [event for event in told if event]

    def rest(self) -> list[Told]:
        """Return what comes until the stream ends."""
        return list(iter(self.next, None))

    def close(self) -> None:
        self.response.close()
        self.connection.close()


@contextmanager
def serving(app: Flask) -> Iterator[int]:
    """Serve the app and its streams on a port."""

    def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            return app(environ | {"gunicorn.socket": environ["werkzeug.socket"]}, start_response)
        finally:
            if database.obj and not database.is_closed():
                database.close()

    server = make_server("127.0.0.1", 0, wsgi, threaded=True)
    server.shutdown_request = server.close_request  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    streams = service_of(app).get(SseServer)
    streams.start()
    yield server.server_port
    streams.stop()
    server.shutdown()
    thread.join()
    server.server_close()
