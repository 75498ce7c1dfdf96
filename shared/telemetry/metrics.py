"""Counters, gauges and histograms of the processes of a service, kept and told by prometheus_client."""

import logging
import shutil
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, generate_latest, multiprocess, values

from shared.settings import pass_on
from shared.telemetry import metric_files

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_SERIES = 1000  # of a process
SERIES_SIZE = 16 * 1024  # bytes that a series takes in a file at most: for each bound its labels, and a number
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_logger = logging.getLogger("postern.metrics")
_registry = CollectorRegistry()  # of this process, where it counts alone
_folder: Path | None = None  # in which processes count together
_part: int | None = None
_lock = Lock()
Labels = tuple[str | int, ...]
prometheus_client.disable_created_metrics()


def share() -> None:
    """Let the processes that this one forks tell their figures together."""
    global _folder
    try:
        _folder = metric_files.make_folder()
    except OSError as error:
        _logger.warning("each process tells its own figures only: %s", error)
        return
    pass_on("PROMETHEUS_MULTIPROC_DIR", str(_folder))
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: _part)


def take_part(number: int) -> None:
    """Go on counting where the process that had this number before has stopped."""
    global _part
    _part = number


def leave_part(number: int) -> None:
    """Forget the gauges of a process that has ended."""
    if _folder:
        multiprocess.mark_process_dead(number, str(_folder))


def remove() -> None:
    """Remove what the processes have counted, when all have ended."""
    if _folder:
        shutil.rmtree(_folder, ignore_errors=True)


def render() -> bytes:
    """Return all that the processes of the service have counted, those that have ended too."""
    if _folder is None:
        return generate_latest(_registry)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, str(_folder))
    return generate_latest(registry)


class Metric:
    """A metric whose labels have few values."""

    made = 0  # series of all metrics

    def __init__(self, metric: Any, file: str) -> None:
        self._metric = metric
        self._file = file  # how the library begins the names of its files
        self._series: dict[Labels, Any] = {}  # since the library takes longer to find one

    def _begin(self, labels: Labels) -> Any:
        """Return the series of labels that are new here, one that is not told where there is no room for it."""
        with _lock:
            known = self._series.get(labels)
            if known is None and Metric.made < MAX_SERIES and self._has_room():
                known = self._series[labels] = self._metric.labels(*labels)
                Metric.made += 1
        if known is None:
            _warn_once()
        return known or _UNTOLD

    def _has_room(self) -> bool:
        if _folder is None:
            return True
        try:
            metric_files.make_room(_folder / f"{self._file}_{_part}.db", SERIES_SIZE)
        except OSError:
            return False
        return True


@cache
def _warn_once() -> None:
    _logger.warning("there are more metrics than fit; the latest are not told")


class _Untold:
    def inc(self) -> None: ...

    def set(self, number: float) -> None: ...

    def observe(self, number: float) -> None: ...


_UNTOLD = _Untold()


class Counter(Metric):
    """A number that only grows."""

    def __init__(self, name: str, help: str, *labels: str) -> None:
        super().__init__(prometheus_client.Counter(name, help, labels, registry=_registry), "counter")

    def add(self, *labels: str | int) -> None:
        try:
            series = self._series[labels]
        except KeyError:
            series = self._begin(labels)
        series.inc()


class Gauge(Metric):
    """A number that goes up and down; of several processes the sum is told."""

    def __init__(self, name: str, help: str, *labels: str) -> None:
        gauge = prometheus_client.Gauge(name, help, labels, registry=_registry, multiprocess_mode="livesum")
        super().__init__(gauge, "gauge_livesum")

    def set(self, number: float, *labels: str | int) -> None:
        (self._series.get(labels) or self._begin(labels)).set(number)


class Histogram(Metric):
    """How often something took how many seconds."""

    def __init__(self, name: str, help: str, *labels: str) -> None:
        super().__init__(
            prometheus_client.Histogram(name, help, labels, registry=_registry, buckets=BOUNDS), "histogram"
        )

    def observe(self, seconds: float, *labels: str | int) -> None:
        try:
            series = self._series[labels]
        except KeyError:
            series = self._begin(labels)
        series.observe(seconds)


_requests = Histogram(
    "http_request_duration_seconds", "Requests until their answer was sent.", "route", "method", "status"
)


def note_request(route: str | None, method: str, status: int, milliseconds: float) -> None:
    """Count a request; what a client can invent, an unknown path or method, is told as one."""
    _requests.observe(milliseconds / 1000, route or "none", method if method in _METHODS else "other", status)
