"""Parse JSON from outside: what no database, no language and no later reader can choke on."""

import json
import re
from typing import Any

import orjson

from shared.problems import Problem

MAX_DEPTH = 32
_LONG_NUMBER = re.compile(rb"\d{19}")
_INT64 = 2**63


def loads(document: bytes) -> Any:
    """Parse one document (RFC 8259, UTF-8); raise INVALID_JSON.

    Refused besides bad syntax: NaN and infinities, lone surrogates, integers beyond 64 bits, numbers that
    overflow a double, and more than `MAX_DEPTH` objects and arrays inside each other.
    """
    try:
        value = orjson.loads(document)
        if _LONG_NUMBER.search(document):  # orjson turns what exceeds 64 bits into a float
            json.loads(document, parse_int=_bounded_int)
    except (ValueError, RecursionError) as error:
        raise Problem("INVALID_JSON", "The body is not one valid JSON document in UTF-8.") from error
    if document.count(b"[") + document.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise Problem("INVALID_JSON", f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    return value


def _bounded_int(digits: str) -> int:
    if len(digits) > 20 or not -_INT64 <= int(digits) < _INT64:
        raise ValueError("integer beyond 64 bits")
    return int(digits)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth
