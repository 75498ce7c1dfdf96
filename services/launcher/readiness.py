"""Ask services whether they are ready, without waiting for their answers."""

import socket
import time
from collections.abc import Mapping
from contextlib import suppress

EDGE = "gateway"  # asked last, because it asks the others itself
PAUSE = 0.1  # seconds between two questions


class Probe:
    """One question after the other to a listening socket of ours, until the answer is 200."""

    def __init__(self, listener: socket.socket, path: str) -> None:
        self.open: socket.socket | None = None
        self._due = 0.0
        self._listener = listener
        self._question = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()

    def ask(self) -> None:
        """Send the question if none is open; its socket is readable when there is an answer."""
        if self.open is None and self._due <= time.monotonic():
            self._due = time.monotonic() + PAUSE
            with suppress(OSError):
                self.open = socket.create_connection(self._listener.getsockname()[:2], timeout=1)
                self.open.sendall(self._question)

    def is_ready(self) -> bool:
        """Take the answer."""
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
    """Which services are not ready yet."""

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
        """Take the answers that have come, and forget who is ready."""
        answered = {name: probe for name, probe in self._probes.items() if probe.open in readable}
        for name, probe in answered.items():
            if probe.is_ready():
                del self._probes[name]

    def give_up(self) -> None:
        for probe in self._probes.values():
            probe.close()
        self._probes.clear()
