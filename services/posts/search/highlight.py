"""Show where a search found its words: HTML in which all is escaped but the marks.

The words are those of the index. A text is folded in blocks, so that a snippet reads no further than it must, and
only in a block with a match is each grapheme cluster folded alone, to learn where the match stands in the text.

Example: the query `uber c` marks `Über C++` as `<mark>Über</mark> <mark>C++</mark>`.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import escape
from itertools import accumulate, chain, islice, takewhile

import regex

from services.posts.search.tokenizer import JOINED, Term, has_dense, prepared, tokens
from services.posts.text import clusters, cut

AROUND = 80  # characters before the first match
LENGTH = 240  # of a snippet
BUDGET = 1_000_000  # characters, as written and folded, in which one answer looks for matches: 0.3 s
_SMALL = 8  # characters of a cluster that is worth remembering
_BETWEEN = r"\s!\"$%&()*,\-./:;<=>?@\[\\\]^_{|}~\u2013\u2014\u3001\u3002\uff01\uff0c\uff0e\uff1b\uff1f"
# Up to a character that is part of no word, where one is near.
_blocks = re.compile(f".{{1,300}}[^{_BETWEEN}]{{0,300}}[{JOINED}]*", re.DOTALL).finditer
_units = regex.compile(rf"\X(?:(?=[{JOINED}])\X)*").finditer
_cached_prepared = lru_cache(4_096)(prepared)

Span = tuple[int, int]


class Highlighter:
    """Mark the words of one question in the texts of one answer."""

    def __init__(self, terms: list[Term]) -> None:
        self._words = {term.word for term in terms if not term.is_prefix}
        beginnings = {term.word for term in terms if term.is_prefix}
        self._signs = set(filter(has_dense, beginnings))  # single characters
        self._beginnings = tuple(beginnings - self._signs)  # at most one
        self._budget = BUDGET

    def whole(self, text: str) -> str:
        """Return all of a short text."""
        return _marked(text, 0, len(text), chain.from_iterable(map(self._spans, _blocks(text))))

    def snippet(self, text: str) -> str:
        """Return what stands around the first match, or the beginning where there is none."""
        spans = chain.from_iterable(map(self._spans, self._affordable(_blocks(text))))
        first = list(islice(spans, 1))
        start = _start(text, first[0][0]) if first else 0
        end = start + len(cut(text[start : start + LENGTH + 1], LENGTH))
        found = takewhile(lambda span: span[0] < end, chain(first, spans))
        shown = _marked(text, start, end, ((left, min(right, end)) for left, right in found))
        return ("…" if start else "") + shown + ("…" if end < len(text) else "")

    def _affordable(self, blocks: Iterable[re.Match[str]]) -> Iterator[re.Match[str]]:
        return takewhile(lambda _block: self._budget > 0, blocks)

    def _spans(self, block: re.Match[str]) -> list[Span]:
        """Return where in the text the matches of a block begin and end, in order and apart."""
        folded = prepared(block[0])
        self._budget -= len(block[0]) + len(folded)
        found = [span for token in tokens(folded) if (span := self._wanted(*token))]
        return _merged(_in_text(block, found)) if found else []

    def _wanted(self, word: str, start: int, end: int) -> Span | None:
        if word in self._words or word.startswith(self._beginnings):
            return start, end
        return (start, start + 1) if word[0] in self._signs else None


def _in_text(block: re.Match[str], found: list[Span]) -> list[Span]:
    """Return where spans of a folded block stand in the text, each as whole grapheme clusters."""
    if block[0].isascii():
        return [(block.start() + start, block.start() + end) for start, end in found]
    units = list(_units(block[0]))
    ends = list(accumulate(len(_prepared(unit[0])) for unit in units))
    return [
        (block.start() + units[bisect_right(ends, start)].start(), block.start() + units[bisect_left(ends, end)].end())
        for start, end in found
    ]


def _prepared(unit: str) -> str:
    return (_cached_prepared if len(unit) <= _SMALL else prepared)(unit)


def _merged(spans: list[Span]) -> list[Span]:
    """Return spans in order, with one for those that touch."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            start, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((start, end))
    return merged


def _start(text: str, first: int) -> int:
    """Return where a snippet begins: at a word or a grapheme cluster, some characters before the first match."""
    start = max(first - AROUND, 0)
    if start == 0:
        return 0
    before = text[max(start - AROUND, 0) : first]  # some more, since a cluster may have begun there
    starts = (first - len(before) + cluster.start() for cluster in clusters(before))
    return text.find(" ", start, first) + 1 or next((place for place in starts if place >= start), first)


def _marked(text: str, start: int, end: int, spans: Iterable[Span]) -> str:
    parts, done = [], start
    for left, right in spans:
        parts += [escape(text[done:left]), "<mark>", escape(text[left:right]), "</mark>"]
        done = right
    return "".join([*parts, escape(text[done:end])])
