"""Understand the header Range (RFC 9110, section 14)."""

import re

Part = tuple[int, int]  # from where to before where

_single = re.compile(r"bytes=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.IGNORECASE).fullmatch


class Unsatisfiable(ValueError):
    """The range lies outside the file."""


def single_part(header: str, size: int) -> Part | None:
    """Return the one part of `size` bytes that is asked for, or None, which means all; raise Unsatisfiable.

    Several ranges, other units and nonsense are ignored, as the RFC allows.
    """
    match = _single(header)
    if match is None or header.strip().endswith("=-"):
        return None
    first, last = match.groups()
    if not first:
        return _within(size, max(size - int(last), 0), size)
    if last and int(last) < int(first):
        return None
    return _within(size, int(first), min(int(last) + 1, size) if last else size)


def _within(size: int, start: int, stop: int) -> Part:
    if start >= size:
        raise Unsatisfiable
    return start, stop
