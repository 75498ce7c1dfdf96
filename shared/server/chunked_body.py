"""Read a body in chunked coding (RFC 9112, section 7.1), and limit the cost of its framing."""

import re
import time
from collections.abc import Callable

from gunicorn.http.unreader import Unreader

from shared.problems import Problem
from shared.server import head_parser

MAX_LINE = 4096  # bytes of a chunk-size line with extensions
MAX_FRAMING = 16 * 1024  # bytes of framing, besides two for each byte of data
MAX_CHUNKS = 65_536  # besides one for each MIN_CHUNK bytes of data
MIN_CHUNK = 32
MANY_CHUNKS = 500  # chunks between two pauses, which take about half a millisecond to parse
PAUSE = 0.002  # seconds of a pause, so that one client uses a fifth of a core at most
CRLF = b"\r\n"

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_EXTENSIONS = rb"(?:[ \t]*+;[ \t]*+%b(?:[ \t]*+=[ \t]*+(?:%b|%b))?+)*+" % (_TOKEN, _TOKEN, _QUOTED)
_LINE = rb"([0-9A-Fa-f]{1,16}+)%b\r\n" % _EXTENSIONS
_first_line = re.compile(_LINE).match
_next_line = re.compile(rb"\r\n" + _LINE).match  # with the end of the chunk before it


class ChunkedReader:
    """Return the data of the chunks; at the end, `complete` is true and surplus bytes are back in the unreader."""

    def __init__(self, unreader: Unreader, check_trailers: Callable[[bytes], None]) -> None:
        self.complete = False
        self._unreader = unreader
        self._check_trailers = check_trailers
        self._match_line = _first_line
        self._raw = b""  # received bytes, parsed up to `_at`
        self._at = 0
        self._left = 0  # bytes of the current chunk
        self._data = self._framing = self._chunks = 0

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end; raise BAD_REQUEST for malformed or too costly framing."""
        pieces = []
        while size and not self.complete:
            if not self._left:
                self._begin_chunk()
            elif piece := self._take(min(size, self._left)):
                pieces.append(piece)
                size -= len(piece)
        return b"".join(pieces)

    def _take(self, size: int) -> bytes:
        """Return up to `size` bytes of the current chunk."""
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
        """Receive more if an incomplete chunk-size line can still become valid, otherwise raise BAD_REQUEST."""
        waiting = len(self._raw) - self._at
        begin = self._at + (len(CRLF) if self._match_line is _next_line else 0)
        is_ended = self._raw.find(CRLF, begin) >= 0
        ends_badly = waiting > 1 and begin > self._at and not self._raw.startswith(CRLF, self._at)
        if is_ended or ends_badly or waiting > MAX_LINE:
            raise _invalid()
        self._receive()

    def _end(self) -> None:
        """Skip the trailers."""
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
