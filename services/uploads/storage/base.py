"""The interface of a storage backend, and the drafts (temporary files) that every backend has on the local disk."""

import errno
import logging
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
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_logger = logging.getLogger("postern.uploads")
is_key = re.compile(r"[0-9a-f-]{36}/[0-9a-f-]{36}\.[a-z]{3,4}").fullmatch


class StorageDown(OSError):
    """The storage cannot be reached, or does not do what it should; a client may come back."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """A stored object."""

    key: str
    modified: datetime


class Blocks(Protocol):
    """The bytes of a file, block by block; must be closed."""

    def __iter__(self) -> Iterator[bytes]: ...

    def close(self) -> None: ...


class Storage(Protocol):
    """Where the bytes are. A key is `<user id>/<upload id>.<extension>`, made by us and never by a client."""

    def draft(self) -> AbstractContextManager[BinaryIO]:
        """Give a local file to write to, which is gone afterwards."""

    def save(self, draft: BinaryIO, key: str, sha256: str) -> None:
        """Keep the draft, which has this hash, under the key; once this returns it survives a loss of power."""

    def open(self, key: str, start: int, stop: int) -> Blocks:
        """Return the bytes from start to before stop, one at least.

        Raises FileNotFoundError and StorageDown now, not half-way.
        """

    def delete(self, key: str) -> None:
        """Remove what is kept, if it is there."""

    def list(self) -> Iterator[StoredObject]:
        """List all stored objects."""

    def discard_drafts(self, before: datetime) -> None:
        """Remove the drafts that nobody has written to since."""

    def check(self) -> None:
        """Raise OSError when nothing can be kept."""


class Drafts:
    """Files in a folder that have not been saved: what comes in is looked at and hashed here before it is kept.

    Where the file system allows it they have no name (`O_TMPFILE`), so that they end with a process that is killed.
    """

    def __init__(self, folder: Path) -> None:
        self._drafts = folder
        self._drafts.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._are_nameless = True
        try:
            with self.draft() as draft:
                self._give_name(draft)
        except (OSError, AttributeError):  # macOS has no O_TMPFILE
            self._are_nameless = False

    @contextmanager
    def draft(self) -> Iterator[BinaryIO]:
        path = self._drafts / new_id()
        try:
            with open(path, "x+b", opener=self._open) as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def _open(self, path: str, flags: int) -> int:
        if not self._are_nameless:
            return os.open(path, flags, 0o600)
        return os.open(self._drafts, flags & ~(os.O_CREAT | os.O_EXCL) | os.O_TMPFILE, 0o600)

    def move(self, draft: BinaryIO, target: Path) -> None:
        """Put a draft in the place of the target, in the same file system."""
        if self._are_nameless:
            self._give_name(draft)  # a link cannot replace the target
        os.replace(draft.name, target)

    def _give_name(self, draft: BinaryIO) -> None:
        descriptor = draft.fileno()
        # Only with `src_dir_fd` does Python follow the symbolic link in /proc; the path is absolute all the same.
        os.link(f"/proc/self/fd/{descriptor}", draft.name, src_dir_fd=descriptor, follow_symlinks=True)

    def discard_drafts(self, before: datetime) -> None:
        for path in self._drafts.iterdir():
            if (modified := modified_at(path)) and modified < before:
                path.unlink(missing_ok=True)

    def check(self) -> None:
        if not os.access(self._drafts, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "the folder of the uploads cannot be written to")


def modified_at(path: Path) -> datetime | None:
    """Return when the file was last written to, None when it has gone meanwhile."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


@contextmanager
def full_disk_is_told() -> Iterator[None]:
    """Turn what the system says about a full disk into STORAGE_FULL."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        _logger.error("the disk is full: %s", error.strerror)
        raise Problem("STORAGE_FULL") from error
