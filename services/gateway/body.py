"""Read a client's body in blocks: count it, bound it, and tell a broken one from a whole one."""

import sys
from collections.abc import Iterator
from typing import Protocol

from shared.problems import Problem

BLOCK = 64 * 1024
SHORT = 1024 * 1024  # bytes; what may be longer streams
MAX_DIGITS = 18


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
