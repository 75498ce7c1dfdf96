"""Fold, cut and sum up text of any script."""

import unicodedata

EXCERPT = 200  # characters
_JOINER = "\u200d"


def fold(text: str) -> str:
    """Return the form in which two texts are compared: compatibility forms and case make no difference."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def cut(text: str, length: int) -> str:
    """Return at most so many characters, without taking a letter's marks or half of a joined emoji."""
    end = length
    while 0 < end < len(text) and (unicodedata.category(text[end])[0] == "M" or _JOINER in text[end - 1 : end + 1]):
        end -= 1
    return text[: end or length]


def cut_at(text: str, length: int, boundary: str) -> str:
    """Cut before the last boundary, unless that would lose more than half."""
    if len(text) <= length:
        return text
    head = cut(text, length)
    end = len(head) if text.startswith(boundary, len(head)) else head.rfind(boundary)
    return head[:end] if end >= length // 2 else head


def excerpt(content: str) -> str:
    """Return the beginning of the content on one line, cut at a word."""
    beginning = " ".join(content.lstrip()[: 5 * EXCERPT].split())
    return cut_at(beginning, EXCERPT, " ")
