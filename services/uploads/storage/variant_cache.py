"""A disk cache of variants with LRU eviction; requests for a variant that is being made are coalesced."""

import hashlib
import logging
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from services.uploads.storage.base import Drafts
from services.uploads.storage.local import FileBlocks
from shared.concurrency import Bulkhead

PATIENCE = 9.0  # seconds to wait for another request that makes the same: the gateway gives up after 10
WAITING = 24  # requests for variants that are not there yet, three quarters of the threads; one too many is refused
DIGEST = hashlib.sha256().digest_size  # bytes in front of each file
_logger = logging.getLogger("postern.uploads")


class Kept:
    """A variant, open to be read; `size` in bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, os.SEEK_END) - DIGEST
        file.seek(0)
        self.sha256 = file.read(DIGEST)
        self.close = file.close

    def open(self, start: int, stop: int) -> FileBlocks:
        return FileBlocks(self._file, DIGEST + start, DIGEST + stop)


class VariantCache:
    """Files `<key of the image>/<name of the variant>`; what was not asked for the longest goes first.

    The size counts what this process knows of: all files after `recount`, and what it made or read since.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._drafts = Drafts(root / "tmp")
        self._max_bytes = max_bytes
        self._sizes: OrderedDict[Path, int] = OrderedDict()  # the least recently read first
        self._total = 0
        self._lock = threading.Lock()
        self._makers = Bulkhead(None, per_client=1, patience=PATIENCE, detail="The variant is still being made.")
        self._waiting = Bulkhead(WAITING, patience=0, detail="Too many variants are being made at the moment.")

    def find(self, key: str, name: str) -> Kept | None:
        """Return a variant that is kept."""
        return self._open(self._root / key / name)

    def get(self, key: str, name: str, make: Callable[[], bytes]) -> Kept:
        """Return a variant, made now unless it is kept; raise what `make` raises, and SERVICE_UNAVAILABLE."""
        if kept := self.find(key, name):
            return kept
        path = self._root / key / name
        with self._waiting.place(), self._makers.place(str(path)):
            return self._open(path) or self._add(path, make())

    def discard(self, key: str) -> None:
        """Remove all variants of an image."""
        folder = self._root / key
        with suppress(FileNotFoundError):
            for path in list(folder.iterdir()):
                self._forget(path)
        shutil.rmtree(folder, ignore_errors=True)

    def keys(self) -> list[str]:
        """Name the images that have variants."""
        return [f"{folder.parent.name}/{folder.name}" for folder in self._root.glob("*/*") if folder.is_dir()]

    def recount(self) -> None:
        """Look at what is in the folder, which other processes may have changed, and keep within the bound."""
        with self._lock:
            found = sorted((stat.st_mtime, path, stat.st_size) for path, stat in self._files())
            self._sizes = OrderedDict((path, size) for _, path, size in found)
            self._total = sum(self._sizes.values())
        self._evict()

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self._root.glob("*/*/*"):
            with suppress(FileNotFoundError):
                yield path, path.stat()

    def _open(self, path: Path) -> Kept | None:
        try:
            kept = Kept(path.open("rb"))
            os.utime(path)  # so that the order of use outlives the process
        except OSError:
            return None
        if kept.size < 0:  # torn by a loss of power
            kept.close()
            return None
        self._note(path, kept.size + DIGEST)
        return kept

    def _add(self, path: Path, data: bytes) -> Kept:
        content = hashlib.sha256(data).digest() + data
        try:
            kept = self._write(path, content)
        except OSError as error:  # a full disk is no reason not to show it
            _logger.warning("a variant cannot be kept: %s", error.strerror)
            return Kept(BytesIO(content))
        self._note(path, len(content))
        self._evict()
        return kept

    def _write(self, path: Path, content: bytes) -> Kept:
        with self._drafts.draft() as draft:
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._drafts.move(draft, path)
            return Kept(os.fdopen(os.dup(draft.fileno()), "rb"))  # stays readable whatever is removed meanwhile

    def _note(self, path: Path, size: int) -> None:
        with self._lock:
            self._total += size - self._sizes.get(path, 0)
            self._sizes[path] = size
            self._sizes.move_to_end(path)

    def _forget(self, path: Path) -> None:
        with self._lock:
            self._total -= self._sizes.pop(path, 0)

    def _evict(self) -> None:
        while (oldest := self._oldest_beyond_bound()) is not None:
            oldest.unlink(missing_ok=True)
            with suppress(OSError):  # others are in there
                oldest.parent.rmdir()

    def _oldest_beyond_bound(self) -> Path | None:
        with self._lock:
            if self._total <= self._max_bytes or not self._sizes:
                return None
            path, size = self._sizes.popitem(last=False)
            self._total -= size
            return path
