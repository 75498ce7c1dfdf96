"""Move the connection of a stream from the worker thread to the thread of the SSE server."""

from collections.abc import Iterable
from typing import Any

from gunicorn.util import http_date

from services.messages.live_events.sse_server import SseServer, Stream
from shared.network.sockets import ConnectionOver
from shared.telemetry.request_id import WsgiApp

KEY = "postern.stream"


class HandedOver(ConnectionOver):
    """The SSE server has a duplicate of the socket: the worker closes its own, as after a disconnect."""


def hand_over_streams(app: WsgiApp, streams: SseServer) -> WsgiApp:
    """Wrap the application: the SSE server takes over a connection whose view sets a stream in the WSGI environment."""

    def layer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        responses: list[Any] = []
        body = app(environ, lambda *response: responses.append(response))
        stream: Stream | None = environ.get(KEY)
        if stream is None:
            start_response(*responses[-1])
            return body
        status, headers = responses[-1][:2]
        body.close()  # type: ignore[attr-defined]
        streams.take(stream, environ["gunicorn.socket"], response_head(status, headers))
        raise HandedOver

    return layer


def response_head(status: str, headers: list[tuple[str, str]]) -> bytes:
    """Return the response_head of a response whose body ends with the connection (RFC 9112, section 6.3)."""
    lines = [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
    lines = [f"HTTP/1.1 {status}", *lines, f"Date: {http_date()}", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")
