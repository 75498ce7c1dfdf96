"""Parse an upstream's answer as it arrives, and refuse one that is not exactly right."""

from http.client import responses

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from services.gateway.http.headers import Headers
from shared.problems import reason

MAX_HEAD = 64 * 1024
MAX_FRAMING = 64 * 1024  # bytes of the chunked coding, besides 8 for each byte of the body


class MalformedResponse(Exception):
    """The upstream's bytes are no valid HTTP/1 answer, or more or fewer than it announced."""


class ResponseParser:
    """Collect status, headers and body of one final answer (RFC 9112); interim ones are passed over.

    `length` is the body's announced length, None when the chunked coding or the end of the connection ends it.
    """

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body: list[bytes] = []
        self.length: int | None = None
        self.heard = False
        self.started = False
        self.complete = False
        self.reusable = False
        self.endless = False
        self.request_id = ""  # of the request that it answers, where the upstream says so
        self._ends_by_close = False
        self._bodiless = method == "HEAD"
        self._head_size = self._coded_size = self._body_size = 0
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take bytes from the upstream; raise MalformedResponse."""
        self.heard = True
        if not self.started:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            raise MalformedResponse(str(error)) from error
        if not self.started and self._head_size > MAX_HEAD:
            raise MalformedResponse("the head is too large")
        if self.started:
            self._coded_size += len(data)
            if self._coded_size > MAX_FRAMING + 9 * self._body_size:
                raise MalformedResponse("the framing is much larger than the body")

    def end(self) -> None:
        """Take the end of the connection; raise MalformedResponse when the answer is not complete by that."""
        if not (self.started and self._ends_by_close):
            raise MalformedResponse("the answer broke off")
        self.complete = True

    def take_body(self) -> bytes:
        """Return what has arrived of the body since the last call."""
        data = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body.clear()
        return data

    def forget(self) -> None:
        """Let go of the C parser, which holds this object in turn, so that no collector has to find the pair."""
        del self._parser

    def status_line(self) -> str:
        phrase = responses.get(self.status, "") if self.status < 400 else reason(self.status)
        return f"{self.status} {phrase}"

    # What httptools calls:

    def on_message_begin(self) -> None:
        if self.complete:
            raise MalformedResponse("bytes after the end of the answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.started:  # trailers are dropped
            self.headers.append((name.decode("ascii"), value.decode("latin-1").rstrip(" \t")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers.clear()
            return
        if sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            raise MalformedResponse("the head is too large")
        if not 200 <= status < 600 or self._parser.get_http_version() not in ("1.1", "1.0"):
            raise MalformedResponse("the status or version is none")
        self.status, self.started = status, True
        self._read_framing()
        self.reusable = self._parser.should_keep_alive()
        self.complete = self._bodiless

    def on_body(self, data: bytes) -> None:
        if self._bodiless:
            raise MalformedResponse("a body where none may be")
        self._body_size += len(data)
        self.body.append(data)

    def on_message_complete(self) -> None:
        if self.started:
            self.complete = True

    def _read_framing(self) -> None:
        self._ends_by_close = True
        for name, value in self.headers:
            lower = name.lower()
            if lower == "content-length":
                self.length = int(value)
                self._ends_by_close = False
            elif lower == "content-type":
                self.endless = value.lower().startswith("text/event-stream")
            elif lower == "x-request-id":
                self.request_id = value
            elif lower == "transfer-encoding":
                if value.lower() != "chunked":
                    raise MalformedResponse("an unknown transfer coding")
                self._ends_by_close = False
