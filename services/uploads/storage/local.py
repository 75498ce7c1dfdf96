"""Storage on the local disk."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from services.uploads.storage.base import BLOCK, Drafts, StoredObject, is_key, modified_at


class LocalStorage(Drafts):
    """Files in a folder; drafts stand beside them, so that they are moved into place in one step."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "tmp")
        self._root = root

    def save(self, draft: BinaryIO, key: str, sha256: str) -> None:
        target = self._path(key)
        draft.flush()
        os.fsync(draft.fileno())
        if not target.parent.exists():
            target.parent.mkdir(mode=0o700, exist_ok=True)
            _sync_folder(self._root)
        self.move(draft, target)
        _sync_folder(target.parent)

    def open(self, key: str, start: int, stop: int) -> "FileBlocks":
        return FileBlocks(self._path(key).open("rb"), start, stop)

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def list(self) -> Iterator[StoredObject]:
        for path in self._root.glob("*/*"):
            key = f"{path.parent.name}/{path.name}"
            if is_key(key) and (modified := modified_at(path)):
                yield StoredObject(key, modified)

    def _path(self, key: str) -> Path:
        """Return the file of a key; raise ValueError for text that is no key of ours."""
        if not is_key(key):
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


def _sync_folder(path: Path) -> None:
    """Fsync a folder, so that new names in it survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
