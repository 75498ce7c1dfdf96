"""A reserve of disk space, given up for deletions; what is free is as a test says."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.database import disk_reserve
from shared.database.disk_reserve import FOR_DELETIONS, LOW, MIB, PLENTY, SIZE, DiskReserve, signs_in

SetFree = Callable[[int], None]


@pytest.fixture
def set_free(monkeypatch: pytest.MonkeyPatch) -> SetFree:
    """Return `set_free(bytes)`; at first there is plenty."""

    def set_free(number: int) -> None:
        monkeypatch.setattr(disk_reserve, "free_bytes", lambda _folder: number)

    set_free(PLENTY)
    return set_free


def allocated(folder: Path) -> int:
    """Return how many bytes of the disk the reserve takes."""
    file = folder / "disk-reserve"
    return file.stat().st_blocks * 512 if file.exists() else 0


def test_the_reserve_takes_its_space(set_free: SetFree, tmp_path: Path) -> None:
    reserve = DiskReserve(tmp_path)
    set_free(PLENTY - 1)
    reserve.refill()
    assert allocated(tmp_path) == 0
    set_free(PLENTY)
    reserve.refill()
    assert allocated(tmp_path) >= SIZE


def test_it_is_given_up_for_a_deletion_on_a_full_disk(
    app: Flask, client: FlaskClient, set_free: SetFree, tmp_path: Path, ann: dict[str, str]
) -> None:
    disk_reserve.init_app(app, tmp_path)
    set_free(LOW)
    client.delete("/api/toys/x", headers=ann)
    set_free(LOW - 1)
    client.get("/api/toys/x")
    assert allocated(tmp_path) >= SIZE
    client.delete("/api/toys/x", headers=ann)
    assert allocated(tmp_path) == 0
    set_free(PLENTY)
    client.get("/api/toys/x")
    assert allocated(tmp_path) == 0
    client.delete("/api/toys/x", headers=ann)
    assert allocated(tmp_path) >= SIZE


def test_a_sign_in_gets_a_half_of_it(app: Flask, client: FlaskClient, set_free: SetFree, tmp_path: Path) -> None:
    app.post("/sign-in", endpoint="sign-in")(signs_in(lambda: "welcome"))
    app.post("/other", endpoint="other")(lambda: "welcome")
    disk_reserve.init_app(app, tmp_path)
    set_free(LOW)
    client.post("/sign-in")
    set_free(LOW - 1)
    client.post("/other")
    assert allocated(tmp_path) >= SIZE
    for _ in range(2):
        client.post("/sign-in")
        assert FOR_DELETIONS <= allocated(tmp_path) < SIZE
    set_free(PLENTY)
    DiskReserve(tmp_path).refill()
    assert allocated(tmp_path) >= SIZE


def test_many_processes_fill_one_reserve(set_free: SetFree, tmp_path: Path) -> None:
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda _number: DiskReserve(tmp_path).refill(), range(6)))
    assert SIZE <= allocated(tmp_path) < SIZE + MIB


def test_a_disk_that_fills_up_meanwhile_gets_no_part_of_a_reserve(
    set_free: SetFree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite

    def fail(descriptor: int, data: bytes, offset: int) -> int:
        if offset >= SIZE // 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", fail)
    DiskReserve(tmp_path).refill()
    assert allocated(tmp_path) == 0
