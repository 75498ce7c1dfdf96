"""Count and time what a process does, and tell it in the Prometheus text format on loopback."""

import logging
import socket
import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress

HOST = "127.0.0.1"
OFFSET = 1000  # from a service's port to that of its metrics
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS = (*map(str, BOUNDS), "+Inf")
TRY_AGAIN = 5.0  # seconds until a port that is taken, perhaps by a worker that is ending, is tried again
PATIENCE = 2.0
MAX_HEAD = 8192
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_logger = logging.getLogger("postern.metrics")
_metrics: "list[Counter | Histogram]" = []


class Counter:
    """A number for each combination of labels, which only grows; the values of labels must be few."""

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name, self.help, self.labels = name, help, labels
        self._values: dict[tuple[str | int, ...], int] = {}
        self._lock = threading.Lock()
        _metrics.append(self)

    def add(self, *values: str | int) -> None:
        with self._lock:
            self._values[values] = self._values.get(values, 0) + 1

    def lines(self) -> Iterator[str]:
        yield from (f"# HELP {self.name} {self.help}", f"# TYPE {self.name} counter")
        for values, number in sorted(self._values.copy().items(), key=str):
            yield f"{self.name}{_labels(self.labels, values)} {number}"


class Histogram:
    """How often something took how many seconds, for each combination of labels."""

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name, self.help, self.labels = name, help, labels
        self._series: dict[tuple[str | int, ...], tuple[list[int], list[float]]] = {}
        self._lock = threading.Lock()
        _metrics.append(self)

    def observe(self, seconds: float, *values: str | int) -> None:
        with self._lock:
            series = self._series.get(values)
            if series is None:
                series = self._series[values] = ([0] * (len(BOUNDS) + 1), [0.0])
            series[0][bisect_left(BOUNDS, seconds)] += 1
            series[1][0] += seconds

    def lines(self) -> Iterator[str]:
        yield from (f"# HELP {self.name} {self.help}", f"# TYPE {self.name} histogram")
        with self._lock:
            known = [(values, counts.copy(), total[0]) for values, (counts, total) in self._series.items()]
        for values, counts, total in sorted(known, key=str):
            so_far = 0
            for bound, number in zip(_BOUNDS, counts, strict=True):
                so_far += number
                yield f"{self.name}_bucket{_labels((*self.labels, 'le'), (*values, bound))} {so_far}"
            yield f"{self.name}_sum{_labels(self.labels, values)} {total:.6f}"
            yield f"{self.name}_count{_labels(self.labels, values)} {so_far}"


def _labels(names: tuple[str, ...], values: tuple[str | int, ...]) -> str:
    pairs = (f'{name}="{_escaped(str(value))}"' for name, value in zip(names, values, strict=True))
    return f"{{{','.join(pairs)}}}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


_requests = Histogram(
    "http_request_duration_seconds", "Requests until their answer was sent.", "route", "method", "status"
)


def note_request(route: str | None, method: str, status: int, milliseconds: float) -> None:
    """Count a request; what a client can invent, an unknown path or method, is told as one."""
    _requests.observe(milliseconds / 1000, route or "none", method if method in _METHODS else "other", status)


def render() -> bytes:
    """Return all that this process has counted."""
    return "".join(f"{line}\n" for metric in _metrics for line in metric.lines()).encode()


class MetricsServer:
    """Answer `GET /metrics` on loopback, in a thread of each process that runs the app.

    Of several processes one has the port, and tells of itself only; another takes it when that one ends.
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
    status, body = ("200 OK", render()) if found else ("404 Not Found", b"")
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
