"""Non-blocking readiness probes of the services."""

import socket
import time
from collections.abc import Mapping
from contextlib import suppress

EDGE = "gateway"  # probed last, since its health check requests that of the services
PAUSE = 0.1  # seconds between two probes


class Probe:
    """Send a GET to a listening socket again and again, until the response is 200."""

    def __init__(self, listener: socket.socket, path: str) -> None:
        self.open: socket.socket | None = None
        self._due = 0.0
        self._listener = listener
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()

    def ask(self) -> None:
        """Send the request, unless one is open; its socket becomes readable with the response."""
        if self.open is None and self._due <= time.monotonic():
            self._due = time.monotonic() + PAUSE
            with suppress(OSError):
                self.open = socket.create_connection(self._listener.getsockname()[:2], timeout=1)
                self.open.sendall(self._request)

    def is_ready(self) -> bool:
        """Read the response; return whether it is 200."""
        try:
            return self.open is not None and self.open.recv(64).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False
        finally:
            self.close()

    def close(self) -> None:
        if self.open:
            self.open.close()
            self.open = None


class Readiness:
    """The probes of the services that are not ready yet."""

    def __init__(self, listeners: Mapping[str, socket.socket]) -> None:
        paths = {EDGE: "/api/health"}
        self._probes = {name: Probe(sock, paths.get(name, "/readyz")) for name, sock in listeners.items()}

    @property
    def waiting(self) -> list[str]:
        return list(self._probes)

    def ask(self) -> None:
        for name, probe in self._probes.items():
            if name != EDGE or len(self._probes) == 1:
                probe.ask()

    def sockets(self) -> list[socket.socket]:
        return [probe.open for probe in self._probes.values() if probe.open]

    def take(self, readable: list[socket.socket]) -> None:
        """Read the responses, and drop the probes of services that are ready."""
        responded = {name: probe for name, probe in self._probes.items() if probe.open in readable}
        for name, probe in responded.items():
            if probe.is_ready():
                del self._probes[name]

    def give_up(self) -> None:
        for probe in self._probes.values():
            probe.close()
        self._probes.clear()
