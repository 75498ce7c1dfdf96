"""A process that is replaced hands its counts over."""

import os
import time
from pathlib import Path

import pytest

from services.gateway.rate_limit.classes import LimitClass
from services.gateway.rate_limit.handover import LimitsHandover
from services.gateway.rate_limit.memory import MemoryWindow
from tests.waiting import wait_until

LIMIT = LimitClass("general", 5, 60)


@pytest.mark.parametrize("first", ["give", "start"])
def test_a_quota_does_not_start_anew(tmp_path: Path, first: str) -> None:
    old, new, path = MemoryWindow(), MemoryWindow(), tmp_path / "limits"
    for _ in range(3):
        old.hit(LIMIT, "ann")
    new.hit(LIMIT, "ann")
    new.hit(LIMIT, "bob")
    if first == "give":
        LimitsHandover(old, path).give()
    LimitsHandover(new, path).start()
    if first == "start":
        LimitsHandover(old, path).give()
    wait_until(lambda: not path.exists())
    assert [new.hit(LIMIT, "ann").allowed for _ in range(2)] == [True, False]
    assert new.hit(LIMIT, "bob").remaining == 3
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_quota_is_no_negative_rest(tmp_path: Path) -> None:
    window = MemoryWindow()
    for _ in range(5):
        window.hit(LIMIT, "ann")
    window.storage.merge(window.storage.export())
    verdict = window.hit(LIMIT, "ann")
    assert (verdict.allowed, verdict.remaining) == (False, 0)


def test_what_a_process_left_that_died_does_not_count(tmp_path: Path) -> None:
    old, new, path = MemoryWindow(), MemoryWindow(), tmp_path / "limits"
    old.hit(LIMIT, "ann")
    LimitsHandover(old, path).give()
    os.utime(path, (time.time() - 60,) * 2)
    LimitsHandover(new, path).start()
    wait_until(lambda: not path.exists())
    assert new.storage.export() == {}
