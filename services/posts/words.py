"""Prepare text and questions for search, in any script: the same words on every database.

Case, compatibility forms, ligatures and accents make no difference; marks that carry meaning, as in Indic scripts,
stay. Scripts that put no spaces between words, and pictures, are cut into pairs of characters, of which the last
one stands alone too, so that any single character is the beginning of something.
"""

import re
import unicodedata
from dataclasses import dataclass

MAX_WORD = 64  # characters; what is longer is cut, in text and question alike
MAX_BYTES = 500_000  # of the different words of one text; a tsvector holds 1 MiB

_ACCENTS = (
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"  # of Latin, Greek, Cyrillic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670"  # Hebrew points, Arabic vowels
)
_INVISIBLE = "\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef"
_PICTURES = "\u2600-\u27bf\U0001f000-\U0001faff"
_DENSE = (
    f"{_PICTURES}"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Myanmar, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # Kana, Han
)
_LETTERS = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i"})


def _marks() -> str:
    """Return the marks of all scripts as ranges of a regular expression."""
    marks = [code for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M"]
    starts = [code for code, before in zip(marks, [0, *marks], strict=False) if code - before != 1]
    ends = [code for code, after in zip(marks, [*marks[1:], 0], strict=True) if after - code != 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


_MARKS = _marks()
_drop = re.compile(f"[{_ACCENTS}{_INVISIBLE}]+").sub
_find_words = re.compile(f"[\\w{_MARKS}{_PICTURES}]+").findall  # of a text without underscores
_find_ascii_words = re.compile("[a-z0-9]+").findall
_split_dense = re.compile(f"([{_DENSE}]+)").split
has_dense = re.compile(f"[{_DENSE}]").search


def fold(text: str) -> str:
    """Return the text without case, accents and ligatures."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKC", text).casefold()
    bare = _drop("", unicodedata.normalize("NFKD", folded)).translate(_LETTERS)
    return unicodedata.normalize("NFC", bare)


def words(text: str) -> set[str]:
    """Return the words of a text that is to be found."""
    runs = set(_runs(text))
    if text.isascii():
        return runs
    return {word for run in runs for word in (_pairs(run, end=True) if has_dense(run) else [run])}


def limited(found: set[str]) -> list[str]:
    """Return the words in order, of an endless text as many as a database can hold."""
    kept, size = sorted(found), 0
    for index, word in enumerate(kept):
        size += len(word.encode())
        if size > MAX_BYTES:
            return kept[:index]
    return kept


@dataclass(frozen=True)
class Term:
    """A word that must be there, or with `is_prefix` one that begins so."""

    word: str
    is_prefix: bool


def terms(question: str) -> list[Term]:
    """Return what of a question must all be there; of its last word the beginning is enough."""
    runs = _runs(question)
    found: dict[str, Term] = {}
    for index, run in enumerate(runs):
        is_dense, is_last = bool(has_dense(run)), index == len(runs) - 1
        for word in _pairs(run, end=False) if is_dense else [run]:
            is_prefix = len(word) == 1 if is_dense else is_last
            if word not in found or not is_prefix:
                found[word] = Term(word, is_prefix)
    return list(found.values())


def _runs(text: str) -> list[str]:
    """Return what stands between spaces and signs, and apart what is of a script without spaces."""
    folded = fold(text)
    if folded.isascii():
        return [run[:MAX_WORD] for run in _find_ascii_words(folded)]
    found: list[str] = _find_words(folded.replace("_", " "))
    if has_dense(folded):
        return [run if has_dense(run) else run[:MAX_WORD] for word in found for run in _split_dense(word) if run]
    return [run[:MAX_WORD] for run in found]


def _pairs(run: str, *, end: bool) -> list[str]:
    pairs = [run[index : index + 2] for index in range(len(run) - 1)]
    return [*pairs, run[-1]] if end or not pairs else pairs
