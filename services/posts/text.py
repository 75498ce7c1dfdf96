"""Fold, cut and sum up text of any script."""

import unicodedata

import regex

EXCERPT_LENGTH = 200  # characters
clusters = regex.compile(r"\X").finditer  # what a reader sees as one character (UAX 29)


def fold(text: str) -> str:
    """Return the form in which two texts are compared: compatibility forms and case make no difference."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def cut(text: str, length: int) -> str:
    """Return at most so many characters, without a part of a grapheme cluster unless the first is longer."""
    if len(text) <= length:
        return text
    ends = [cluster.end() for cluster in clusters(text[: length + 1])]  # the last one may go on behind
    return text[: ends[-2] if len(ends) > 1 else length]


def cut_at(text: str, length: int, boundary: str) -> str:
    """Cut before the last boundary, unless that would lose more than half."""
    if len(text) <= length:
        return text
    head = cut(text, length)
    end = len(head) if text.startswith(boundary, len(head)) else head.rfind(boundary)
    return head[:end] if end >= length // 2 else head


def excerpt(content: str) -> str:
    """Return the beginning of the content on one line, cut at a word."""
    beginning = " ".join(cut(content.lstrip(), 5 * EXCERPT_LENGTH).split())
    return cut_at(beginning, EXCERPT_LENGTH, " ")
