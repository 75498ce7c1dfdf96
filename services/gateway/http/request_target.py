"""Parse the request target once, so that exactly the authorised path is forwarded."""

import re
from urllib.parse import quote, unquote, unquote_to_bytes

from shared.problems import Problem

_printable = re.compile(r"[\x21-\x7e]+").fullmatch
_plain_path = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~!$&'()*+,;=:@-]+)+").fullmatch
_bad_escape = re.compile(r"%(?![0-9A-Fa-f]{2})").search
_dangerous = re.compile(r"[\x00-\x1f\x7f-\x9f/\\]").search
_SAFE = "!$&'()*+,;=:@"
_MAX_ENCODINGS = 4


def split_target(target: str) -> tuple[str, str]:
    """Return the canonical path and the query as sent; raise BAD_REQUEST where readers could disagree.

    Only the origin form is taken (RFC 9112, section 3.2.1). Escapes are decoded and encoded again in one way,
    so that a path has one spelling: `/a%41` becomes `/aA`.
    """
    if not _printable(target) or "#" in target:
        raise Problem("BAD_REQUEST", "The request target holds a character that must be percent-encoded.")
    path, _, query = target.partition("?")
    if _plain_path(path):
        return path, query
    if not path.startswith("/"):
        raise Problem("BAD_REQUEST", "The request target must be a path that starts with a slash.")
    *folders, last = path[1:].split("/")
    if "" in folders:
        raise Problem("BAD_REQUEST", "The path holds an empty segment.")
    return "".join("/" + _canonical(segment) for segment in (*folders, last)), query


def join_target(path: str, query: str) -> str:
    """Return the target to send to an upstream."""
    return f"{path}?{query}" if query else path


def _canonical(segment: str) -> str:
    if _bad_escape(segment):
        raise Problem("BAD_REQUEST", "The path holds a broken percent-encoding.")
    try:
        text = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError as error:
        raise Problem("BAD_REQUEST", "The path is not UTF-8.") from error
    _refuse_ambiguous(text)
    return quote(text, safe=_SAFE)


def _refuse_ambiguous(text: str) -> None:
    """Refuse a segment that changes its meaning when it is decoded again, such as `%252e%252e`."""
    for _ in range(_MAX_ENCODINGS):
        if text in (".", "..") or _dangerous(text):
            raise Problem("BAD_REQUEST", "The path holds a dot segment, a slash, a backslash or a control character.")
        again = unquote(text)
        if again == text:
            return
        text = again
    raise Problem("BAD_REQUEST", "The path is percent-encoded too many times.")
