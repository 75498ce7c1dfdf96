"""Keep bytes: one small interface, and the local disk behind it."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from shared.ids import new_id
from shared.problems import Problem

BLOCK = 256 * 1024
_is_key = re.compile(r"[0-9a-f-]{36}/[0-9a-f-]{36}\.[a-z]{3,4}").fullmatch
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Stored:
    """Something that is kept."""

    key: str
    modified: datetime


class Blocks(Protocol):
    """The bytes of a file, block by block; must be closed."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class Storage(Protocol):
    """Where the bytes are. A key is `<user id>/<upload id>.<extension>`, made by us and never by a client."""

    def draft(self) -> AbstractContextManager[BinaryIO]:
        """Give a local file to write to, which is gone afterwards unless it was saved."""

    def save(self, draft: BinaryIO, key: str) -> None:
        """Keep the draft under the key; once this returns it survives a loss of power."""

    def open(self, key: str, start: int, stop: int) -> Blocks:
        """Return the bytes from start to before stop; raise FileNotFoundError now rather than half-way."""

    def delete(self, key: str) -> None:
        """Remove what is kept, if it is there."""

    def list(self) -> Iterator[Stored]:
        """Name everything that is kept."""

    def discard_drafts(self, before: datetime) -> None:
        """Remove the drafts that nobody has written to since."""

    def check(self) -> None:
        """Raise OSError when nothing can be kept."""


@contextmanager
def full_disk_is_told() -> Iterator[None]:
    """Turn what the system says about a full disk into STORAGE_FULL."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Problem("STORAGE_FULL") from error


class LocalStorage:
    """Files in a folder; drafts stand beside them, so that they are moved into place in one step."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._drafts = root / "tmp"
        self._drafts.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def draft(self) -> Iterator[BinaryIO]:
        path = self._drafts / new_id()
        try:
            with open(path, "x+b", opener=_private) as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def save(self, draft: BinaryIO, key: str) -> None:
        target = self._path(key)
        draft.flush()
        os.fsync(draft.fileno())
        if not target.parent.exists():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(self._root)
        os.replace(draft.name, target)
        _sync_folder(target.parent)

    def open(self, key: str, start: int, stop: int) -> "FileBlocks":
        return FileBlocks(self._path(key).open("rb"), start, stop)

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def list(self) -> Iterator[Stored]:
        for path in self._root.glob("*/*"):
            key = f"{path.parent.name}/{path.name}"
            if _is_key(key) and (modified := _modified(path)):
                yield Stored(key, modified)

    def discard_drafts(self, before: datetime) -> None:
        for path in self._drafts.iterdir():
            if (modified := _modified(path)) and modified < before:
                path.unlink(missing_ok=True)

    def check(self) -> None:
        if not os.access(self._drafts, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "the folder of the uploads cannot be written to")

    def _path(self, key: str) -> Path:
        """Return the place of a key; one that we have not made leads nowhere."""
        if not _is_key(key):
            raise ValueError("not a key")
        return self._root / key


class FileBlocks:
    """A part of an open file, block by block."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file = file
        self._start = start
        self._left = stop - start
        self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self._start)
        while self._left and (block := self._file.read(min(BLOCK, self._left))):
            self._left -= len(block)
            yield block


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _modified(path: Path) -> datetime | None:
    """Return when the file was last written to, None when it has gone meanwhile."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _sync_folder(path: Path) -> None:
    """Make the names in a folder survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
