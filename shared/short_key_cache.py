"""Remember what a function returned for short texts: a client's header may have 16 KiB, and a cache has many keys."""

from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

MAX_KEY = 64  # characters
Result = TypeVar("Result")


class ShortKeyCache(Generic[Result]):
    """Call the function, and keep its latest `size` results for texts of at most `MAX_KEY` characters."""

    def __init__(self, function: Callable[[str], Result], size: int) -> None:
        self._function = function
        self._cached = lru_cache(size)(function)
        self.cache_info = self._cached.cache_info

    def __call__(self, text: str) -> Result:
        return self._cached(text) if len(text) <= MAX_KEY else self._function(text)


def short_key_cache(size: int) -> Callable[[Callable[[str], Result]], ShortKeyCache[Result]]:
    return lambda function: ShortKeyCache(function, size)
