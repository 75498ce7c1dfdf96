"""Serve the metrics of a service on loopback, beside its own port."""

import logging
import socket
import threading
from contextlib import suppress

from shared.event_loop import run_beside
from shared.telemetry import metrics

HOST = "127.0.0.1"
OFFSET = 1000  # from a service's port to that of its metrics
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TRY_AGAIN = 1.0  # seconds until a port that is taken, perhaps by a worker that is ending, is tried again
PATIENCE = 2.0
MAX_HEAD = 8192
_logger = logging.getLogger("postern.metrics")


class MetricsServer:
    """Answer `GET /metrics` on loopback, in a thread of each process that runs the app.

    Of several processes one has the port, and tells of all; another takes it when that one ends.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener: socket.socket | None = None
        self._stopped = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        if self._listener:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listener = socket.create_server((HOST, self._port))
            except (OSError, OverflowError) as error:
                _logger.debug("no metrics on port %s: %s", self._port, error)
                self._stopped.wait(TRY_AGAIN)
            else:
                with self._listener:
                    self._serve(self._listener)

    def _serve(self, listener: socket.socket) -> None:
        while not self._stopped.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, suppress(OSError):
                client.settimeout(PATIENCE)
                client.sendall(_answer(_read_line(client)))


def _read_line(client: socket.socket) -> bytes:
    """Return the request line, when the whole head has come."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < MAX_HEAD:
        if not (data := client.recv(MAX_HEAD)):
            break
        head += data
    return head.partition(b"\r\n")[0]


def _answer(line: bytes) -> bytes:
    found = line.split(b" ")[:2] == [b"GET", b"/metrics"]
    status, body = ("200 OK", run_beside(metrics.render)) if found else ("404 Not Found", b"")
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
