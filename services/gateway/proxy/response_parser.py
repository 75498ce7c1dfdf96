"""An incremental, strict parser of an upstream's response (RFC 9112)."""

from http.client import responses

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from services.gateway.http.headers import Headers
from shared.problems import reason

MAX_HEAD = 64 * 1024
MAX_FRAMING = 64 * 1024  # bytes of chunked framing, besides 8 for each byte of the body


class MalformedResponse(Exception):
    """The upstream sent no valid HTTP/1 response, or more or fewer bytes than announced."""


class ResponseParser:
    """Parse status, headers and body of one response; skip interim ones (RFC 9110, section 15.2).

    `length` is the Content-Length, None if chunked coding or the end of the connection ends the body.
    """

    def __init__(self, method: str) -> None:
        self.status = 0
        self.headers: Headers = []
        self.body: list[bytes] = []
        self.length: int | None = None
        self.received_any = False
        self.started = False
        self.complete = False
        self.reusable = False
        self.is_event_stream = False
        self.request_id = ""  # X-Request-ID of the response
        self._ends_by_close = False
        self._bodiless = method == "HEAD"
        self._head_size = self._coded_size = self._body_size = 0
        self._parser = HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Parse more bytes; raise MalformedResponse."""
        self.received_any = True
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
        """Handle the end of the connection; raise MalformedResponse if the response is incomplete."""
        if not (self.started and self._ends_by_close):
            raise MalformedResponse("the answer broke off")
        self.complete = True

    def take_body(self) -> bytes:
        """Return the bytes of the body since the last call."""
        data = self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body.clear()
        return data

    def release(self) -> None:
        """Drop the C parser, which is in a reference cycle with this object."""
        del self._parser

    def status_line(self) -> str:
        phrase = responses.get(self.status, "") if self.status < 400 else reason(self.status)
        return f"{self.status} {phrase}"

    # Callbacks of httptools:

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
                self.is_event_stream = value.lower().startswith("text/event-stream")
            elif lower == "x-request-id":
                self.request_id = value
            elif lower == "transfer-encoding":
                if value.lower() != "chunked":
                    raise MalformedResponse("an unknown transfer coding")
                self._ends_by_close = False
