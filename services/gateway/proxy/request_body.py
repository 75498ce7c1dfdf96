"""Read a client's body in blocks, within its size limit, and detect one that is cut off."""

import logging
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Protocol

from shared.problems import Problem

BLOCK = 64 * 1024
FROM_DISK = 256 * 1024  # bytes of one read of a spooled body
SHORT = 1024 * 1024  # bytes; a body with a higher limit is streamed
MAX_DIGITS = 18
_logger = logging.getLogger("postern.gateway")


class Readable(Protocol):
    """The interface of `wsgi.input` that is used."""

    def read(self, size: int, /) -> bytes: ...


def content_length(value: str) -> int | None:
    """Return Content-Length in bytes, None for an empty value; raise BAD_REQUEST if it is not a number."""
    if not value:
        return None
    if not (value.isascii() and value.isdigit()):
        raise Problem("BAD_REQUEST", "Content-Length is not a number.")
    return int(value) if len(value) <= MAX_DIGITS else sys.maxsize


def too_large(limit: int) -> Problem:
    return Problem("PAYLOAD_TOO_LARGE", f"The body may have at most {limit} bytes here.", maxSize=limit)


class ClientBody:
    """A request body of `length` bytes (None: chunked), of at most `limit` bytes.

    `first` is its first block, read before the request goes upstream; with `whole` there are no others. Up to a limit
    of SHORT, `first` is the whole body, so that a slow client occupies no thread of a service.
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
        """Release its resources."""

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
            raise  # from our server
        except TimeoutError as error:
            raise Problem("REQUEST_TIMEOUT", "The body stopped arriving.") from error
        except Exception as error:  # other servers have their own exceptions
            raise Problem("BAD_REQUEST", "The body broke off or is not valid chunked coding.") from error
        return b"".join(pieces)


class SpooledBody(ClientBody):
    """A body that is spooled to an anonymous file before it goes upstream, so that a slow client occupies no upstream.

    With `takes_part` (a resumable upload), a body that is cut off is forwarded up to there and cut off there too.
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
        """Yield the blocks after the first; raise the problem of a body that is cut off."""
        if self._file:
            yield from iter(partial(self._file.read, FROM_DISK), b"")
        if self._broken:
            raise self._broken

    def close(self) -> None:
        if self._file:
            self._file.close()
