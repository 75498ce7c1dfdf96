"""Paths of files under their owner's root: any depth, any script, one Unicode normalization (NFC)."""

import unicodedata

from services.uploads.schemas import MAX_FILENAME
from shared.problems import Problem

MAX_NAME = 512  # characters of a whole name
_REFUSED = ("Cc", "Cs", "Zl", "Zp")  # controls, halves of characters, breaks of lines


def normal(path: str) -> str:
    """Return the NFC form of a path, under which it is stored."""
    return unicodedata.normalize("NFC", path)


def new_name(path: str) -> str:
    """Return the name to keep a file under; raise VALIDATION_ERROR.

    It is a row's text and never a place on the disk; what looks like a way out of the owner's root is refused so that
    no client trips over it.
    """
    name = normal(path)
    if len(name) > MAX_NAME:
        raise _invalid(f"Must have at most {MAX_NAME} characters.")
    for segment in name.split("/"):
        _check(segment)
    return name


def _check(segment: str) -> None:
    if not 0 < len(segment) <= MAX_FILENAME:
        raise _invalid(f"Each part between slashes must have 1 to {MAX_FILENAME} characters.")
    if segment in (".", "..") or segment != segment.strip():
        raise _invalid("No part may be a dot or two, nor begin or end with a space.")
    if any(char in "\\\ufffd" or unicodedata.category(char) in _REFUSED for char in segment):
        raise _invalid("Must not contain backslashes, control characters or broken ones.")


def _invalid(message: str) -> Problem:
    return Problem("VALIDATION_ERROR", errors={"path": [message]})
