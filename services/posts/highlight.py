"""Show where a search found its words: HTML in which all is escaped but the marks."""

import re
from collections.abc import Iterator
from functools import lru_cache
from html import escape

from services.posts.text import cut
from services.posts.words import MAX_WORD, Term, fold, has_dense

AROUND = 80  # characters before the first match
LENGTH = 240  # of a snippet
_pieces = re.compile(r"[^\s!-/:-@\[-`{-~\u2000-\u200a\u2010-\u206f\u3000-\u3004\u3008-\u3020\uff01-\uff0f]+").finditer
_cached_fold = lru_cache(16_384)(fold)

Span = tuple[int, int]


class Highlighter:
    """Mark the words of one question."""

    def __init__(self, terms: list[Term]) -> None:
        self._words = {term.word for term in terms if not term.is_prefix}
        self._beginnings = tuple(term.word for term in terms if term.is_prefix)
        self._dense = [term.word for term in terms if has_dense(term.word)]

    def whole(self, text: str) -> str:
        """Return all of a short text."""
        return _marked(text, 0, len(text), self._spans(text))

    def snippet(self, text: str) -> str:
        """Return what stands around the first match, or the beginning where there is none."""
        first = next(self._spans(text), (0, 0))[0]
        start = max(first - AROUND, 0)
        if start:
            start = text.find(" ", start, first) + 1 or start
        end = start + len(cut(text[start:], LENGTH))
        spans = self._spans(text[start:end])
        shown = _marked(text, start, end, ((start + left, start + right) for left, right in spans))
        return ("…" if start else "") + shown + ("…" if end < len(text) else "")

    def _spans(self, text: str) -> Iterator[Span]:
        """Give where the matches begin and end, in order."""
        for piece in _pieces(text):
            folded = _cached_fold(piece[0])
            if has_dense(folded):
                yield from self._dense_spans(piece.start(), folded if len(folded) == len(piece[0]) else "")
            elif self._is_wanted(folded[:MAX_WORD]):
                yield piece.span()

    def _is_wanted(self, word: str) -> bool:
        return word in self._words or word.startswith(self._beginnings)

    def _dense_spans(self, start: int, folded: str) -> Iterator[Span]:
        """Give the runs of characters that a pair of the question covers."""
        covered: set[int] = set()
        for word in self._dense:
            for match in re.finditer(f"(?={re.escape(word)})", folded):
                covered.update(range(match.start(), match.start() + len(word)))
        for index in sorted(covered):
            if index - 1 not in covered:
                end = next(after for after in range(index, len(folded) + 1) if after not in covered)
                yield start + index, start + end


def _marked(text: str, start: int, end: int, spans: Iterator[Span]) -> str:
    parts, done = [], start
    for left, right in spans:
        parts += [escape(text[done:left]), "<mark>", escape(text[left:right]), "</mark>"]
        done = right
    return "".join([*parts, escape(text[done:end])])
