"""Parse JSON of clients strictly, so that databases and other parsers can hold all of it."""

import re
from codecs import BOM_UTF8
from typing import Any

import orjson

from shared.event_loop import wait_for_slice, yield_if_due
from shared.problems import Problem

MAX_DEPTH = 32
_INT64 = 2**63
_ALL_BUT_STRUCTURE = bytes(set(range(256)) - set(b'"[]{}'))
_string = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
_long_number = re.compile(rb"\d{19}")
_long_integer = re.compile(rb"(?<![\d.eE+-])-?\d{19,}+(?![.eE])")


def loads(document: bytes) -> Any:
    """Parse one document (RFC 8259, UTF-8), which may begin with a byte order mark; raise INVALID_JSON.

    Refused besides bad syntax: NaN and infinities, lone surrogates, integers beyond 64 bits, numbers that
    overflow a double, and more than `MAX_DEPTH` objects and arrays inside each other.
    """
    wait_for_slice()
    document = document.removeprefix(BOM_UTF8)
    try:
        value = orjson.loads(document)
    except (ValueError, RecursionError) as error:
        raise _invalid() from error
    yield_if_due()
    if _long_number.search(document) and not _fit_integers(document):
        raise _invalid()
    if document.count(b"[") + document.count(b"{") > MAX_DEPTH and not _is_shallow(document):
        raise Problem("INVALID_JSON", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    return value


def _invalid() -> Problem:
    return Problem("INVALID_JSON", "The body is not one valid JSON document in UTF-8.")


# Both look at the text of a document that is valid, with a few passes in C: a walk over a million values in Python
# would hold an event loop up for half a second.


def _fit_integers(document: bytes) -> bool:
    """Return whether all integers have at most 64 bits; orjson turns others into floats."""
    integers = _long_integer.findall(_string.sub(b'""', document))
    return all(len(digits) <= 20 and -_INT64 <= int(digits) < _INT64 for digits in integers)


def _is_shallow(document: bytes) -> bool:
    """Return whether objects and arrays are nested at most MAX_DEPTH deep."""
    unescaped = document.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = unescaped.translate(None, _ALL_BUT_STRUCTURE).replace(b'""', b"")
    brackets = b"".join(structure.split(b'"')[::2]).replace(b"{", b"[").replace(b"}", b"]")
    for _ in range(MAX_DEPTH):
        yield_if_due()
        brackets = brackets.replace(b"[]", b"")
    return not brackets
