"""Detect prefetches, which browsers and caches send before a user views the page."""

from collections.abc import Mapping
from typing import Any

# Sec-Purpose is the standard's (Fetch, section 2.2.5); browsers sent the others before it.
_KEYS = ("HTTP_SEC_PURPOSE", "HTTP_PURPOSE", "HTTP_X_PURPOSE", "HTTP_X_MOZ")
_MARKS = ("prefetch", "prerender", "preview")


def is_prefetch(environ: Mapping[str, Any]) -> bool:
    return any(mark in environ[key].lower() for key in _KEYS if key in environ for mark in _MARKS)
