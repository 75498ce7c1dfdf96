"""Read a body in chunks (RFC 9112, section 7.1), and bound what their framing may cost."""

import re
import time
from collections.abc import Callable

from gunicorn.http.unreader import Unreader

from shared.problems import Problem
from shared.server import head_parser

MAX_LINE = 4096  # bytes of the line before a chunk
MAX_FRAMING = 16 * 1024  # bytes that are no data, besides twice as many as the data
MAX_CHUNKS = 65_536  # besides one for each MIN_CHUNK bytes of data
MIN_CHUNK = 32
MANY_CHUNKS = 500  # after so many, which take about half a millisecond,
PAUSE = 0.002  # the client waits for so many seconds, so that it takes a part of the processor only
CRLF = b"\r\n"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_EXTENSIONS = rb"(?:[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?+)*+" % (_TOKEN, _TOKEN, _QUOTED)
_LINE = rb"([0-9A-Fa-f]{1,16}+)%b\r\n" % _EXTENSIONS
_first_line = re.compile(_LINE).match
_next_line = re.compile(rb"\r\n" + _LINE).match  # with the end of the chunk before it


class ChunkedReader:
    """Give the data of the chunks; `complete` when all has been read, and what follows is back in the unreader."""

    def __init__(self, unreader: Unreader, check_trailers: Callable[[bytes], None]) -> None:
        self.complete = False
        self._unreader = unreader
        self._check_trailers = check_trailers
        self._match_line = _first_line
        self._raw = b""  # what has been received, and from where it has not been looked at
        self._at = 0
        self._left = 0  # bytes of this chunk
        self._data = self._framing = self._chunks = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, fewer only at the end; raise Problem."""
        pieces = []
        while size and not self.complete:
            if not self._left:
                self._begin_chunk()
            elif piece := self._take(min(size, self._left)):
                pieces.append(piece)
                size -= len(piece)
        return b"".join(pieces)

    def _take(self, size: int) -> bytes:
        """Return up to `size` bytes of this chunk."""
        if self._at < len(self._raw):
            piece = self._raw[self._at : self._at + size]
            self._at += len(piece)
        else:
            piece = self._unreader.read(size)
            if len(piece) < size:
                raise Problem("BAD_REQUEST", "The body broke off.")
        self._left -= len(piece)
        return piece

    def _begin_chunk(self) -> None:
        while not (match := self._match_line(self._raw, self._at)):
            self._expect_more_of_line()
        self._match_line = _next_line
        self._left = int(match[1], 16)
        self._count(match.end() - self._at)
        self._at = match.end()
        if not self._left:
            self._end()

    def _count(self, framing: int) -> None:
        self._data += self._left
        self._chunks += 1
        self._framing += framing
        if self._framing > MAX_FRAMING + 2 * self._data or self._chunks > MAX_CHUNKS + self._data // MIN_CHUNK:
            raise Problem("BAD_REQUEST", "The chunks of the body are too small for their number.")
        if not self._chunks % MANY_CHUNKS:
            time.sleep(PAUSE)

    def _expect_more_of_line(self) -> None:
        """Receive more, if a line that is not complete may become one."""
        waiting = len(self._raw) - self._at
        begin = self._at + (len(CRLF) if self._match_line is _next_line else 0)
        is_ended = self._raw.find(CRLF, begin) >= 0
        ends_badly = waiting > 1 and begin > self._at and not self._raw.startswith(CRLF, self._at)
        if is_ended or ends_badly or waiting > MAX_LINE:
            raise _invalid()
        self._receive()

    def _end(self) -> None:
        """Pass over the trailers, of which nobody makes use."""
        begin = self._at - len(CRLF)  # of the line before, which without trailers is the first half of the empty one
        while (end := self._raw.find(CRLF + CRLF, begin)) < 0:
            block = self._raw[self._at :]
            if len(block) > head_parser.MAX_HEAD or block.count(b"\n") != block.count(CRLF):
                raise _invalid()
            self._receive()
            begin = self._at - len(CRLF)
        if end > begin:
            self._check_trailers(self._raw[self._at : end])
        self.complete = True
        self._unreader.unread(self._raw[end + 2 * len(CRLF) :])
        self._raw = b""

    def _receive(self) -> None:
        more = self._unreader.read()
        if not more:
            raise Problem("BAD_REQUEST", "The body broke off.")
        kept = self._at - len(CRLF) if self._at else 0
        self._raw = self._raw[kept:] + more
        self._at -= kept


def _invalid() -> Problem:
    return Problem("BAD_REQUEST", "The chunked coding of the body is not valid.")
