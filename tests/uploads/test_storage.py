"""What every storage has to do."""

import errno
import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.uploads.app import open_storage
from services.uploads.config import Config
from services.uploads.storage.base import Storage
from shared import clock
from shared.ids import new_id
from tests.helpers import NOBODY
from tests.uploads.conftest import settings_of


@pytest.fixture(params=["disk", "s3", "rclone"])
def storage_setting(request: pytest.FixtureRequest) -> dict[str, str]:
    return settings_of(request)


@pytest.fixture
def storage(config: Config) -> Storage:
    return open_storage(config)


def key() -> str:
    return f"{new_id()}/{new_id()}.png"


def keep(storage: Storage, key: str, data: bytes) -> None:
    with storage.draft() as draft:
        draft.write(data)
        storage.save(draft, key, hashlib.sha256(data).hexdigest())


def read(storage: Storage, key: str, start: int, stop: int) -> bytes:
    blocks = storage.open(key, start, stop)
    try:
        return b"".join(blocks)
    finally:
        blocks.close()


def test_what_was_saved_is_read_in_parts(storage: Storage) -> None:
    data, place = bytes(range(256)) * 4000, key()
    keep(storage, place, data)
    for start, stop in ((0, len(data)), (0, 1), (300_000, 800_000), (len(data) - 1, len(data))):
        assert read(storage, place, start, stop) == data[start:stop]
    assert [stored.key for stored in storage.list()] == [place]


def test_a_reader_goes_on_when_the_file_is_deleted(storage: Storage) -> None:
    place = key()
    keep(storage, place, b"x" * 600_000)
    blocks = storage.open(place, 0, 600_000)
    storage.delete(place)
    assert sum(map(len, blocks)) == 600_000
    blocks.close()


def test_what_is_not_there_is_told_at_once(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.open(key(), 0, 1)
    storage.delete(key())
    assert not list(storage.list())


def test_a_draft_has_no_name_so_that_it_ends_with_the_process(storage: Storage) -> None:
    with storage.draft() as draft:
        draft.write(b"x")
        assert not list(Path(draft.name).parent.iterdir())


def test_what_is_saved_again_is_replaced(storage: Storage) -> None:
    place = key()
    keep(storage, place, b"first")
    keep(storage, place, b"second")
    assert read(storage, place, 0, 6) == b"second"


def test_a_check_leaves_nothing_behind(storage: Storage) -> None:
    storage.check()
    assert not list(storage.list())


def test_a_draft_that_is_not_saved_is_gone(storage: Storage) -> None:
    with storage.draft() as draft:
        draft.write(b"x")
    assert not Path(draft.name).exists()
    assert not list(storage.list())


@pytest.mark.parametrize("bad", ["../x", f"../{NOBODY}.png", f"{NOBODY}/../../x.png", "/etc/passwd", "", "tmp/x"])
def test_a_key_leads_nowhere_else(storage: Storage, bad: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        storage.open(bad, 0, 1)
    with pytest.raises(ValueError, match="not a key"):
        storage.delete(bad)
    with pytest.raises(ValueError, match="not a key"):
        keep(storage, bad, b"x")


@pytest.fixture
def naming_storage(config: Config, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A storage in a file system that has no nameless files."""
    real = os.open

    def without_nameless(path: Any, flags: int, *details: Any, **more: Any) -> int:
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path, flags, *details, **more)

    monkeypatch.setattr(os, "open", without_nameless)
    return open_storage(config)


def test_without_nameless_files_drafts_have_names(naming_storage: Storage) -> None:
    place = key()
    keep(naming_storage, place, b"x")
    assert read(naming_storage, place, 0, 1) == b"x"
    with naming_storage.draft() as draft:
        assert Path(draft.name).exists()
    assert not Path(draft.name).exists()


def test_only_old_drafts_are_discarded(naming_storage: Storage) -> None:
    storage = naming_storage
    with storage.draft() as draft:
        storage.discard_drafts(clock.now() - timedelta(minutes=1))
        assert Path(draft.name).exists()
        storage.discard_drafts(clock.now() + timedelta(minutes=1))
        assert not Path(draft.name).exists()
