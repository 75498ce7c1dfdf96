"""What a process counts, and how it tells it."""

import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import values

from shared.telemetry import metric_files, metrics, metrics_server
from shared.telemetry.metrics import BOUNDS, Counter, Gauge, Histogram, note_request, render
from shared.telemetry.metrics_server import MetricsServer
from shared.telemetry.request_id import with_request_id
from tests.ports import free_port

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\.)*",?)*)\})? ([0-9.]+(?:e-[0-9]+)?|\+Inf)')


def samples() -> dict[str, float]:
    """Return what is told by its name and labels; every line must be as the format says."""
    found = {}
    for line in render().decode().splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))", line)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, line
        key = line.rpartition(" ")[0]
        assert key not in found, f"{key} is told twice"
        found[key] = float(match[3])
    return found


@pytest.mark.usefixtures("alone")
def test_a_counter_grows() -> None:
    counter = Counter("refused_total", "Refused.", "limit")
    for limit in ("general", "general", "login"):
        counter.add(limit)
    assert samples() == {'refused_total{limit="general"}': 2, 'refused_total{limit="login"}': 1}


@pytest.mark.usefixtures("alone")
def test_a_histogram_counts_each_time_in_every_larger_bucket() -> None:
    histogram = Histogram("took_seconds", "Took.", "route")
    for seconds in (0.0005, 0.001, 0.3, 99.0):
        histogram.observe(seconds, "/a")
    told = samples()
    buckets = [told[f'took_seconds_bucket{{le="{bound}",route="/a"}}'] for bound in (*BOUNDS, "+Inf")]
    assert buckets == [2] * 8 + [3] * 5 + [4]
    assert told['took_seconds_count{route="/a"}'] == 4
    assert told['took_seconds_sum{route="/a"}'] == pytest.approx(99.3015)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "日本", '"} 1\nforged 1'])
def test_a_label_holds_any_text(value: str) -> None:
    Counter("told_total", "Told.", "what").add(value)
    assert list(samples().values()) == [1]


def in_a_process(part: int, work: Callable[[], None]) -> None:
    """Do the work in a forked process that has this part and ends without a farewell."""
    pid = os.fork()
    if pid == 0:
        try:
            metrics.take_part(part)
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.usefixtures("alone")
def test_processes_are_told_together_and_none_that_has_ended_is_forgotten() -> None:
    counter, histogram = Counter("asked_total", "Asked.", "x"), Histogram("took_seconds", "Took.", "x")

    def work() -> None:
        for label in ("a", "b", "a"):
            counter.add(label)
            histogram.observe(0.2, label)

    for part in (0, 1, 0, 2):  # the third one in the place of the first
        in_a_process(part, work)
    told = samples()
    assert (told['asked_total{x="a"}'], told['asked_total{x="b"}']) == (8, 4)
    assert told['took_seconds_count{x="a"}'] == 8
    assert told['took_seconds_sum{x="a"}'] == pytest.approx(1.6)
    assert told['took_seconds_bucket{le="0.1",x="a"}'] == 0


@pytest.mark.usefixtures("alone")
def test_a_gauge_is_the_sum_of_the_processes_and_forgets_one_that_has_ended() -> None:
    gauge = Gauge("open", "Open.", "x")
    in_a_process(0, lambda: gauge.set(1, "a"))
    in_a_process(1, lambda: gauge.set(1, "a"))
    assert samples() == {'open{x="a"}': 2}
    metrics.leave_part(1)
    assert samples() == {'open{x="a"}': 1}
    in_a_process(0, lambda: gauge.set(0, "a"))
    assert samples() == {'open{x="a"}': 0}


@pytest.mark.usefixtures("alone")
def test_more_series_than_fit_are_left_out_and_the_others_still_count(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    counter, histogram, gauge = (
        Counter("asked_total", "A.", "x"),
        Histogram("took", "T.", "x"),
        Gauge("open", "O.", "x"),
    )
    for number in (*range(5), 0):
        counter.add(number)
    histogram.observe(0.1, "a")
    gauge.set(1, "a")
    assert samples() == {'asked_total{x="0"}': 2, 'asked_total{x="1"}': 1, 'asked_total{x="2"}': 1}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_process_that_cannot_share_counts_alone(
    alone: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    metrics.remove()
    monkeypatch.setattr(metrics, "_folder", None)
    monkeypatch.setattr(values, "ValueClass", values.MutexValue)
    monkeypatch.setattr(metric_files, "IN_MEMORY", tmp_path / "missing")
    metrics.share()
    counter = Counter("asked_total", "Asked.", "x")
    counter.add("a")
    assert samples() == {'asked_total{x="a"}': 1}
    assert len(caplog.records) == 1


def test_no_count_is_lost_between_threads() -> None:
    counter, histogram = Counter("threads_total", "Threads.", "x"), Histogram("threads_seconds", "Threads.", "x")

    def work() -> None:
        for _ in range(2000):
            counter.add("a")
            histogram.observe(0.01, "a")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = samples()
    assert (told['threads_total{x="a"}'], told['threads_seconds_count{x="a"}']) == (8000, 8000)


def test_a_request_is_counted_by_its_template_when_its_log_line_is_written() -> None:
    def app(environ, start_response):
        environ["postern.route"] = "/things/{id}"
        start_response("201 Created", [])
        return [b""]

    key = 'http_request_duration_seconds_count{method="POST",route="/things/{id}",status="201"}'
    before = samples().get(key, 0)
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/things/1"}
    with_request_id(app)(environ, lambda status, headers, exc_info=None: None).close()  # type: ignore[attr-defined]
    assert samples()[key] == before + 1


def test_what_a_client_invents_makes_no_new_series() -> None:
    before = set(samples())
    for number in range(50):
        note_request(None, f"INVENTED{number}", 599, 1.0)
    assert [key for key in set(samples()) - before if "_count" in key] == [
        'http_request_duration_seconds_count{method="other",route="none",status="599"}'
    ]
    assert "INVENTED" not in render().decode()


@pytest.fixture
def server() -> Iterator[int]:
    port = free_port()
    running = MetricsServer(port)
    running.start()
    yield port
    running.stop()


def ask(port: int, request: bytes) -> bytes:
    with connect(port) as connection:
        connection.sendall(request)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def connect(port: int, seconds: float = 5) -> socket.socket:
    """Connect as soon as somebody listens."""
    until = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)


def test_it_is_served_at_metrics_and_nowhere_else(server: int) -> None:
    head, _, body = ask(server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4")
    assert b"# TYPE http_request_duration_seconds histogram" in body
    for line in (b"GET / HTTP/1.1", b"POST /metrics HTTP/1.1", b"GET /metrics/x HTTP/1.1", b"", b"nonsense"):
        assert ask(server, line + b"\r\n\r\n").startswith(b"HTTP/1.1 404")


def test_a_silent_client_ends_and_the_next_is_served(server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "PATIENCE", 0.1)
    ask(server, b"GET /metrics HTTP/1.1\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server)):
        assert ask(server, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_a_taken_port_is_taken_over_when_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_server, "TRY_AGAIN", 0.05)
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        running = MetricsServer(port)
        running.start()
        time.sleep(0.1)
    assert ask(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200")
    running.stop()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), 1)
