"""Parse the head of a request (RFC 9112) with pure functions; refuse what two parsers could read differently.

Example: a client sends `POST /api/posts HTTP/1.1` with both `Content-Length: 4` and `Transfer-Encoding: chunked`.

1. `parse_line` and `parse_fields` accept it, since each line is valid. `body_length` raises BAD_REQUEST: two parsers
could see two different bodies, which allows request smuggling (RFC 9112, section 11.2). 2. `Request.parse` keeps what
was read: method, path and headers. Of a head that `parse_fields` refuses, only Origin. 3. `error_response.py` passes
the problem in the WSGI environment to the application, if that has a handler for it. The gateway's is its whole chain,
so the 400 counts against the rate limit and has the CORS headers of any other response. 4. The response has
`Connection: close`, since nobody can say where the next request begins.
"""

import re
from urllib.parse import urlsplit

from shared.problems import Problem
from shared.short_key_cache import short_key_cache

MAX_LINE = 8190  # bytes of the request line
MAX_HEADERS = 100
MAX_HEADER = 16 * 1024  # bytes of one header: on localhost all applications share their cookies
MAX_HEAD = 32 * 1024  # bytes of all headers
CRLF = "\r\n"
Fields = dict[str, str]
Version = tuple[int, int]

# The forms of a request target (RFC 9112, section 3.2): origin, absolute, asterisk, authority.
_FORMS = r"\S+ /|\S+ [A-Za-z][A-Za-z0-9+.-]*://|OPTIONS \* |CONNECT [^*]"
_line = re.compile(rf"(?={_FORMS})([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])").fullmatch
# RFC 9110, section 9, and RFC 5789
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"))
_absolute = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE).fullmatch
_origin_lines = re.compile(r"(?:\A|\r\n)origin:[ \t]*([\x21-\x7e]+)[ \t]*(?=\r\n|\Z)", re.IGNORECASE).findall
is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110, section 5.6.2
_has_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search
# RFC 3986, sections 3.2.2 and 3.2.3
_is_host = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(?::[0-9]{0,5})?", re.ASCII).fullmatch
_is_length = re.compile(r"[0-9]{1,1000}").fullmatch
_SINGLE = frozenset(("HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH"))
_NOT_IN_TRAILERS = frozenset((
    "HTTP_HOST", "CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_TRAILER", "HTTP_AUTHORIZATION", "HTTP_TE",
))  # fmt: skip
_CODINGS = frozenset(("chunked", "compress", "deflate", "gzip", "identity"))


def end_of_head(data: bytes | bytearray) -> int:
    """Return the index of the empty line that ends the head, -1 if the head is incomplete.

    Data that can no longer become a valid head count as a whole head, so that they are refused at once. After a request
    line that is too long, the headers are still read: the CORS headers of the refusal depend on Origin.
    """
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        return end
    line, ended, _ = data.removeprefix(b"\r\n").partition(b"\r\n")
    begins_well = not ended or _line(line.decode("latin-1"))
    is_short = len(data) <= MAX_LINE + MAX_HEAD + 4 * len(CRLF)
    return -1 if begins_well and is_short and data.count(b"\n") == data.count(b"\r\n") else len(data)


def parse_line(line: str) -> tuple[str, str, Version]:
    """Return method, target and version.

    Raises URI_TOO_LONG, BAD_REQUEST, HTTP_VERSION_NOT_SUPPORTED or NOT_IMPLEMENTED.
    """
    if len(line) > MAX_LINE:
        raise Problem("URI_TOO_LONG", f"The request line may have at most {MAX_LINE} bytes.")
    match = _line(line)
    if not match:
        raise _bad_line()
    method, target, major, minor = match.groups()
    if major != "1":
        raise Problem("HTTP_VERSION_NOT_SUPPORTED")
    if method not in METHODS:
        raise Problem("NOT_IMPLEMENTED", "The method is not known.")
    return method, target, (1, int(minor))


def split_absolute(target: str) -> tuple[str, str]:
    """Return the origin form of a target and its authority, empty where it has none (RFC 9112, section 3.2.2).

    Raises BAD_REQUEST for an authority with a user, or other schemes than http and https.
    """
    if target[0] == "/" or "://" not in target:
        return target, ""
    match = _absolute(target)
    if not match or not match[1] or not _is_host(match[1]):
        raise _bad_line()
    rest = match[2]
    return (rest if rest[:1] == "/" else f"/{rest}"), match[1]


def path_and_query(target: str) -> tuple[str, str]:
    """Return path and query; raise BAD_REQUEST."""
    if target[0] == "/":
        path, _, query = target.partition("#")[0].partition("?")
        return path, query
    try:
        parts = urlsplit(target)
    except ValueError as error:
        raise _bad_line() from error
    return parts.path, parts.query


def _bad_line() -> Problem:
    return Problem("BAD_REQUEST", "The request line is not valid.")


def parse_fields(block: str) -> Fields:
    """Return the headers by WSGI key, repeated ones joined (RFC 9110, section 5.3).

    Raises BAD_REQUEST or HEADERS_TOO_LARGE.
    """
    lines = block.split(CRLF) if block else []
    if len(lines) > MAX_HEADERS or len(block) > MAX_HEAD or max(map(len, lines), default=0) > MAX_HEADER - len(CRLF):
        detail = f"There may be at most {MAX_HEADERS} headers of {MAX_HEADER} bytes, and {MAX_HEAD} bytes of all."
        raise Problem("HEADERS_TOO_LARGE", detail)
    if _has_control("".join(lines)):
        raise _bad_field()
    fields: Fields = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise _bad_field()
        key, value = _key(name), value.strip(" \t")
        if key not in fields:
            fields[key] = value
        elif key not in _SINGLE:
            fields[key] += ("; " if key == "HTTP_COOKIE" else ",") + value  # RFC 9113, section 8.2.3
        else:
            raise Problem("BAD_REQUEST", "A header that may be there once is there twice.")
    fields.pop("", None)
    return fields


@short_key_cache(256)
def _key(name: str) -> str:
    """Return the WSGI key of a header; empty for a name with `_`, which would get the key of the name with `-`."""
    if not is_token(name):
        raise _bad_field()
    if "_" in name:
        return ""
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _bad_field() -> Problem:
    return Problem("BAD_REQUEST", "A header is not valid.")


def origin_in(block: str) -> Fields:
    """Return the header Origin of a malformed block, for the CORS headers of the refusal."""
    values = _origin_lines(block[: MAX_HEAD + MAX_LINE])
    return {"HTTP_ORIGIN": values[0]} if len(values) == 1 else {}


def check_trailers(block: str) -> None:
    """Raise BAD_REQUEST for a malformed trailer, or one that must not be in trailers (RFC 9110, section 6.5.1)."""
    if not _NOT_IN_TRAILERS.isdisjoint(parse_fields(block)):
        raise _bad_field()


def check_host(fields: Fields, version: Version) -> None:
    """Raise BAD_REQUEST if Host is malformed, or missing in HTTP/1.1 (RFC 9112, section 3.2)."""
    host = fields.get("HTTP_HOST")
    if version >= (1, 1) if host is None else not _is_host(host):
        raise Problem("BAD_REQUEST", "A request of HTTP/1.1 needs the header Host, which names a host and a port.")


def body_length(fields: Fields, version: Version) -> int | None:
    """Return the length of the body in bytes, None for chunked coding; raise BAD_REQUEST or NOT_IMPLEMENTED.

    RFC 9112, section 6.3.
    """
    length, coding = fields.get("CONTENT_LENGTH"), fields.get("HTTP_TRANSFER_ENCODING")
    if coding is None:
        if length is None:
            return 0
        if not _is_length(length):
            raise Problem("BAD_REQUEST", "Content-Length is not a number.")
        fields["CONTENT_LENGTH"] = str(int(length))  # without leading zeros, for readers that mind them
        return int(length)
    codings = [name.strip(" \t") for name in coding.lower().split(",")]
    are_known = _CODINGS.issuperset(codings)
    ends_in_chunks = codings.count("chunked") == 1 and codings[-1] == "chunked"
    if are_known and not (ends_in_chunks and length is None and version >= (1, 1)):
        raise Problem("BAD_REQUEST", "Transfer-Encoding ends in chunked and excludes Content-Length, from HTTP/1.1 on.")
    if not are_known or len(codings) > 1:
        raise Problem("NOT_IMPLEMENTED", "The only transfer coding is chunked.")
    return None


def expects_continue(fields: Fields, version: Version) -> bool:
    """Return whether the client waits for 100 Continue (RFC 9110, section 10.1.1); raise EXPECTATION_FAILED."""
    expected = fields.get("HTTP_EXPECT")
    if expected is None:
        return False
    if any(name.strip(" \t") != "100-continue" for name in expected.lower().split(",")):
        raise Problem("EXPECTATION_FAILED", "Nothing but 100-continue can be expected.")
    return version >= (1, 1)


def is_last(method: str, fields: Fields, version: Version) -> bool:
    """Return whether the connection closes after this request (RFC 9112, section 9.3)."""
    said = fields.get("HTTP_CONNECTION", "").lower()
    return "close" in said or method == "CONNECT" or (version < (1, 1) and said != "keep-alive")
