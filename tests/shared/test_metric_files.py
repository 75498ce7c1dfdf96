"""The files in which processes count: allocated before the library writes to them, and removed with their master."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.telemetry import metric_files, metrics
from shared.telemetry.metric_files import FIRST_SIZE, make_folder, make_room
from shared.telemetry.metrics import Histogram
from tests.shared.server.served import KINDS, Served
from tests.waiting import wait_until


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Refuse larger files, as a full disk would."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("limit", [0, 1000, FIRST_SIZE, FIRST_SIZE + 1000])
def test_a_file_that_cannot_grow_is_left_as_it_was(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "counter_1.db"
    with no_file_above(limit), pytest.raises(OSError):
        make_room(path, FIRST_SIZE + 1)
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert sizes == ([FIRST_SIZE] if limit >= FIRST_SIZE else [])


@pytest.mark.usefixtures("alone")
def test_the_library_never_writes_to_a_hole() -> None:
    assert metrics._folder
    histogram = Histogram("took_seconds", "Took.", "x")
    sizes = set()
    for number in range(200):
        histogram.observe(0.1, f"a label that takes some space, number {number}")
        (status,) = (file.stat() for file in metrics._folder.iterdir())
        assert status.st_blocks * 512 >= status.st_size
        sizes.add(status.st_size)
    assert len(sizes) > 3


@pytest.mark.usefixtures("alone")
def test_series_that_do_not_fit_into_the_memory_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    histogram = Histogram("took_seconds", "Took.", "x")
    histogram.observe(0.1, "a")
    with no_file_above(FIRST_SIZE):
        for number in range(100):
            histogram.observe(0.1, f"a label that takes some space, number {number}")
        histogram.observe(0.1, "a")
    told = metrics.render().decode()
    assert 'took_seconds_count{x="a"} 2.0' in told
    assert 5 < told.count("took_seconds_count") < 50
    assert len(caplog.records) == 1


def test_folders_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_files, "IN_MEMORY", tmp_path)
    pid = os.fork()
    if pid == 0:
        make_folder()
        os._exit(0)
    os.waitpid(pid, 0)
    (left,) = tmp_path.iterdir()
    other = tmp_path / "postern-metrics-of-somebody"
    other.mkdir()
    ours = make_folder()
    assert {*tmp_path.iterdir()} == {other, ours}
    assert make_folder() != ours
    assert ours.exists()
    assert not left.exists()


def folders(server: Served) -> list[Path]:
    base = metric_files.IN_MEMORY or Path("/tmp")
    return [*base.glob(f"postern-metrics-{server.process.pid}-*")]


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_of_a_server_goes_with_it(kind: str, tmp_path: Path) -> None:
    server = Served(kind, tmp_path)
    (folder,) = folders(server)
    wait_until(lambda: {file.name for file in folder.iterdir()} == {"histogram_0.db"})
    server.stop(signal.SIGTERM)
    assert not folder.exists()
