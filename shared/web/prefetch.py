"""Recognise prefetches, which browsers and caches send before a person looks."""

from collections.abc import Mapping
from typing import Any

# Sec-Purpose is the standard's (Fetch, section 2.2.5); browsers sent the others before it.
_MARKS = (
    ("HTTP_SEC_PURPOSE", "prefetch"),
    ("HTTP_PURPOSE", "prefetch"),
    ("HTTP_X_PURPOSE", "preview"),
    ("HTTP_X_MOZ", "prefetch"),
)


def is_prefetch(environ: Mapping[str, Any]) -> bool:
    return any(mark in environ[key].lower() for key, mark in _MARKS if key in environ)
