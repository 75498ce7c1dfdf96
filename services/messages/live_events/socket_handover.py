"""Hand the connection of a stream over to the thread that serves them all, and free the server's own."""

from collections.abc import Iterable
from typing import Any

from gunicorn.util import http_date

from services.messages.live_events.sse_server import SseServer, Stream
from shared.network.sockets import ConnectionOver
from shared.telemetry.request_id import WsgiApp

KEY = "postern.stream"


class HandedOver(ConnectionOver):
    """The connection is served by somebody else: the server closes its descriptor, as if the client had gone."""


def handing_over(app: WsgiApp, streams: SseServer) -> WsgiApp:
    """Wrap the application: what it answers goes to the server, unless it left a stream in the environment."""

    def layer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        answers: list[Any] = []
        body = app(environ, lambda *answer: answers.append(answer))
        stream: Stream | None = environ.get(KEY)
        if stream is None:
            start_response(*answers[-1])
            return body
        status, headers = answers[-1][:2]
        body.close()  # type: ignore[attr-defined]
        streams.take(stream, environ["gunicorn.socket"], head(status, headers))
        raise HandedOver

    return layer


def head(status: str, headers: list[tuple[str, str]]) -> bytes:
    """Return the beginning of an answer that the end of the connection ends (RFC 9112, section 6.3)."""
    lines = [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
    lines = [f"HTTP/1.1 {status}", *lines, f"Date: {http_date()}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")
