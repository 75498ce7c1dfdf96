"""The first parts of files that are sent in several requests, in a local folder until they are complete.

A part only ever grows, and its length on the disk is the offset: there is no other record that could differ from it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services.uploads.storage.base import StoredObject, modified_at
from services.uploads.storage.local import FileBlocks
from shared.ids import is_id
from shared.problems import Problem


class TusParts:
    """The parts, by the id of their upload; one that has not begun has no bytes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def size(self, upload_id: str) -> int:
        try:
            return (self._root / upload_id).stat().st_size
        except FileNotFoundError:
            return 0

    def blocks(self, upload_id: str, stop: int) -> Iterator[bytes]:
        """Yield the bytes before `stop`, as many of them as there are."""
        if self.size(upload_id):
            with (self._root / upload_id).open("rb") as file:
                yield from FileBlocks(file, 0, stop)

    def append(self, upload_id: str, offset: int, data: bytes) -> int:
        """Add bytes if the part ends at the offset, and return where it ends now; raise CONFLICT.

        The lock is held for this one step. So a request that hangs keeps nobody from going on, and when it wakes up
        the part has grown past it.
        """
        with self._opened(upload_id, os.O_RDWR | os.O_APPEND | (0 if offset else os.O_CREAT)) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_size != offset:
                raise Problem("CONFLICT", "Another request has sent the bytes at this offset.")
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
        return offset + len(data)

    def sync(self, upload_id: str) -> None:
        """Make what was added survive a loss of power; raise CONFLICT."""
        with self._opened(upload_id, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)

    @contextmanager
    def _opened(self, upload_id: str, flags: int) -> Iterator[int]:
        try:
            descriptor = os.open(self._root / upload_id, flags, 0o600)
        except FileNotFoundError as error:
            raise Problem("CONFLICT", "The bytes before this offset are not there any more.") from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def discard(self, upload_id: str) -> None:
        (self._root / upload_id).unlink(missing_ok=True)

    def list(self) -> Iterator[StoredObject]:
        """Name everything that is kept."""
        for path in self._root.iterdir():
            if is_id(path.name) and (modified := modified_at(path)):
                yield StoredObject(path.name, modified)
