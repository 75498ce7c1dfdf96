"""Read a client's body in blocks: count it, bound it, and tell a broken one from a whole one."""

import logging
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from shared.problems import Problem

BLOCK = 64 * 1024
FROM_DISK = 256 * 1024  # bytes that are read at once, of a body that is there
SHORT = 1024 * 1024  # bytes; what may be longer streams
MAX_DIGITS = 18
_logger = logging.getLogger("postern.gateway")


class Readable(Protocol):
    """What a server gives as `wsgi.input`."""

    def read(self, size: int, /) -> bytes: ...


def content_length(value: str) -> int | None:
    """Return the length in bytes, None without one; raise BAD_REQUEST for what is no number."""
    if not value:
        return None
    if not (value.isascii() and value.isdigit()):
        raise Problem("BAD_REQUEST", "Content-Length is not a number.")
    return int(value) if len(value) <= MAX_DIGITS else sys.maxsize


def too_large(limit: int) -> Problem:
    return Problem("PAYLOAD_TOO_LARGE", f"The body may have at most {limit} bytes here.", maxSize=limit)


class ClientBody:
    """A request body of `length` bytes, or None for chunked, of which at most `limit` are taken.

    `first` is its first block, read before any upstream is disturbed; `whole` tells that nothing follows it. Where the
    limit is short that is all of it, so that a client that drips holds no thread of a service.
    """

    def __init__(self, stream: Readable, length: int | None, limit: int) -> None:
        self.length = length
        self._stream = stream
        self._limit = limit
        self._seen = 0
        self.whole = False
        self.first = self._read(limit + 1 if limit <= SHORT else BLOCK)

    def rest(self) -> Iterator[bytes]:
        """Yield the blocks after the first; raise BAD_REQUEST, REQUEST_TIMEOUT or PAYLOAD_TOO_LARGE."""
        while not self.whole:
            if block := self._read(BLOCK):
                yield block

    def close(self) -> None:
        """Let go of what is kept of it."""

    def _read(self, size: int) -> bytes:
        wanted = size if self.length is None else min(size, self.length - self._seen)
        block = self._read_block(wanted)
        self._seen += len(block)
        if self.length is None:
            self.whole = len(block) < wanted
            if self._seen > self._limit:
                raise too_large(self._limit)
        else:
            self.whole = self._seen == self.length
            if len(block) < wanted:
                raise Problem("BAD_REQUEST", "The body is shorter than its Content-Length.")
        return block

    def _read_block(self, wanted: int) -> bytes:
        """Read up to `wanted` bytes, fewer only at the end of the body."""
        pieces = []
        try:
            while wanted and (piece := self._stream.read(wanted)):
                pieces.append(piece)
                wanted -= len(piece)
        except Problem:
            raise  # the kit's server has said what is wrong
        except TimeoutError as error:
            raise Problem("REQUEST_TIMEOUT", "The body stopped arriving.") from error
        except Exception as error:  # any other server has its own errors for a broken body
            raise Problem("BAD_REQUEST", "The body broke off or is not valid chunked coding.") from error
        return b"".join(pieces)


class SpooledBody(ClientBody):
    """A body that waits in a nameless file until all of it is there, so that a slow client keeps no upstream waiting.

    Where a part is of use, one that breaks off is passed on as far as it came, and breaks off there too.
    """

    def __init__(self, stream: Readable, length: int | None, limit: int, folder: Path, takes_part: bool) -> None:
        super().__init__(stream, length, limit)
        self._takes_part = takes_part
        self._broken: Problem | None = None
        self._file = None if self.whole else tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `close`)
        if self._file:
            self._fill(self._file)

    def _fill(self, file: IO[bytes]) -> None:
        try:
            file.writelines(super().rest())
        except OSError as error:
            _logger.error("a body cannot be kept on the disk: %s", error.strerror)
            raise Problem("STORAGE_FULL") from error
        except Problem as problem:
            if problem.code == "PAYLOAD_TOO_LARGE" or not self._takes_part:
                file.close()
                raise
            self._broken = problem
        else:
            self.length = self._seen
        self.whole = False
        file.seek(0)

    def rest(self) -> Iterator[bytes]:
        """Yield the blocks after the first; raise what broke the body off."""
        if self._file:
            yield from iter(partial(self._file.read, FROM_DISK), b"")
        if self._broken:
            raise self._broken

    def close(self) -> None:
        if self._file:
            self._file.close()
