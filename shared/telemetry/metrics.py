"""Counters, gauges and histograms of the processes of a service, in the Prometheus text format."""

import threading
from bisect import bisect_left
from collections.abc import Iterator

import orjson

from shared.telemetry import tally

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BOUNDS = (*map(str, BOUNDS), "+Inf")
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_metrics: "list[Metric]" = []
_tallies = [tally.private()]
_own = _tallies[0]
Labels = tuple[str | int, ...]


def share(processes: int) -> None:
    """Let the processes that this one forks, at most so many at the same time, tell their figures together."""
    global _tallies
    _tallies = tally.shared(processes)


def take_part(number: int | None) -> None:
    """Go on counting where the process that had this number before has stopped; None is one too many."""
    global _own
    if number is None:
        return
    _own = tally.Tally(_tallies[number].memory)
    for metric in _metrics:
        metric.begin()


class Metric:
    """Numbers for each combination of labels; the values of labels must be few."""

    kind = ""
    size = 1

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self.name, self.help, self.labels = name, help, labels
        self._places: dict[Labels, int] = {}
        self._lock = threading.Lock()
        _metrics.append(self)

    def begin(self) -> None:
        self._places.clear()

    def _place(self, values: Labels) -> int:
        """Return where the numbers of these labels are; called with the lock."""
        place = self._places.get(values)
        if place is None:
            place = self._places[values] = _own.place(orjson.dumps([self.name, *map(str, values)]), self.size)
        return place

    def lines(self, values: list[str], numbers: list[float]) -> Iterator[str]:
        yield f"{self.name}{_labels(self.labels, values)} {_number(numbers[0])}"


class Counter(Metric):
    """A number that only grows."""

    kind = "counter"

    def add(self, *values: str | int) -> None:
        with self._lock:
            _own.numbers[self._place(values)] += 1


class Gauge(Metric):
    """A number that goes up and down; of several processes the sum is told."""

    kind = "gauge"

    def begin(self) -> None:
        """Forget what a process before this one has left behind."""
        super().begin()
        for key, place in _own.places():
            if orjson.loads(key)[0] == self.name:
                _own.numbers[place] = 0

    def set(self, number: float, *values: str | int) -> None:
        with self._lock:
            _own.numbers[self._place(values)] = number


class Histogram(Metric):
    """How often something took how many seconds."""

    kind = "histogram"
    size = len(_BOUNDS) + 1  # a number for each bound, and the sum

    def observe(self, seconds: float, *values: str | int) -> None:
        with self._lock:
            place = self._place(values)
            _own.numbers[place + bisect_left(BOUNDS, seconds)] += 1
            _own.numbers[place + len(_BOUNDS)] += seconds

    def lines(self, values: list[str], numbers: list[float]) -> Iterator[str]:
        so_far = 0.0
        for bound, number in zip(_BOUNDS, numbers, strict=False):
            so_far += number
            yield f"{self.name}_bucket{_labels((*self.labels, 'le'), [*values, bound])} {_number(so_far)}"
        yield f"{self.name}_sum{_labels(self.labels, values)} {numbers[-1]:.6f}"
        yield f"{self.name}_count{_labels(self.labels, values)} {_number(so_far)}"


def _number(number: float) -> str:
    return str(int(number)) if number.is_integer() else str(number)


def _labels(names: tuple[str, ...], values: list[str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in zip(names, values, strict=True))
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
    """Return all that the processes of the service have counted, those that have ended too."""
    sums: dict[bytes, list[float]] = {}
    for part in _tallies:
        for key, numbers in part.rows():
            known = sums.get(key)
            sums[key] = [a + b for a, b in zip(known, numbers, strict=True)] if known else numbers
    found: dict[str, list[tuple[list[str], list[float]]]] = {}
    for key, numbers in sorted(sums.items()):
        name, *values = orjson.loads(key)
        found.setdefault(name, []).append((values, numbers))
    lines = []
    for metric in _metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for values, numbers in found.get(metric.name, ()):
            lines += metric.lines(values, numbers)
    return "".join(f"{line}\n" for line in lines).encode()
