"""Prepare text and questions for search, in any script: the same words on every database.

Case, compatibility forms, ligatures, accents, kinds of apostrophes and of digits make no difference; marks that carry
meaning, as in Indic scripts, stay. Scripts that put no spaces between words, and pictures, are cut into pairs of
characters, of which the last one stands alone too, so that any single character is the beginning of something.

A text is found by a word with an apostrophe or sign as a whole (`lamour`, `c++`) and by its parts (`l`, `amour`, `c`);
a question asks for the whole.

Examples: the text `Über C++` has the words `uber`, `c` and `c++`. The query `über c++` asks for the word `uber` and for
a word that begins with `c++`; the query `c` asks for a word that begins with `c`, so it finds the text too.
`東京都` has the words `東京`, `京都` and `都`; the query `東京都` asks for `東京` and `京都`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

MAX_WORD = 64  # characters; what is longer is cut, in text and question alike
MAX_BYTES = 500_000  # of the different words of one text; a tsvector holds 1 MiB

_ACCENTS = (
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"  # of Latin, Greek, Cyrillic
    "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u065f\u0670"  # Hebrew points, Arabic vowels
)
_INVISIBLE = "\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef"
_EMOJI = (
    "\u00a9\u00ae\u25aa\u25ab\u3030\u303d\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u25b6\u25c0\u25fb-\u25fe"
    "\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\U0001f000-\U0001faff"
)
_DENSE = (
    f"{_EMOJI}"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Myanmar, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u302f\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff"  # Kana, Han
)
_LATIN = {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i"}
# Arabic and Persian keyboards type different code points for yeh, kaf and heh; te marbuta is often typed as heh.
_ARABIC = {"ى": "ي", "ی": "ي", "ک": "ك", "ڪ": "ك", "ہ": "ه", "ھ": "ه", "ە": "ه", "ة": "ه", "ۃ": "ه", "ٱ": "ا"}
_APOSTROPHES = dict.fromkeys(
    "\u2018\u2019\u201b\u02b9\u02bb\u02bc\u02bd\u02be\u02bf`\u2032\u2035\ua78c\u055a\u05f3", "'"
)


def _of_category(category: str) -> list[str]:
    return [char for char in map(chr, range(0x300, 0x1FC00)) if unicodedata.category(char).startswith(category)]


def _ranges(chars: Iterable[str]) -> str:
    """Return sorted characters as ranges of a regular expression."""
    codes = list(map(ord, chars))
    starts = [code for code, before in zip(codes, [0, *codes], strict=False) if code - before != 1]
    ends = [code for code, after in zip(codes, [*codes[1:], 0], strict=True) if after - code != 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


_DIGITS = {char: str(unicodedata.decimal(char)) for char in _of_category("Nd")}
_LETTERS = str.maketrans(_LATIN | _ARABIC | _APOSTROPHES | _DIGITS)
_MARKS = _ranges(_of_category("M"))
# Halfwidth letters that normalization makes marks of, and an accent typed as an apostrophe that it makes a space of.
_LOST = "\uff9e\uff9f\u00b4\u1ffd"
_KEPT = str.maketrans(_LOST, "\u3099\u309a''")
_JAMO = "\u1160-\u11ff\u3131-\u318e\ud7b0-\ud7fb\uffa0-\uffdc"
# Folded together with what stands before them: any other character is folded alone as in its text.
JOINED = f"{_MARKS}\uff9e\uff9f{_INVISIBLE}\u0640{_JAMO}\U00016d63-\U00016d6a"
MAX_MARKS = 30  # on one character, as in the Stream-Safe Text Format: normalization is quadratic in their number

_may_have_many_marks = re.compile(f"[^\\w\\x00-\u02ff]{{{MAX_MARKS + 1}}}").search  # in a tenth of the time of the next
_many_marks = re.compile(f"([{_MARKS}]{{{MAX_MARKS}}})[{_MARKS}]+")
_drop = re.compile(f"[{_ACCENTS}{_INVISIBLE}]+").sub
_SIGNS = "(?:\\+\\+|[+#](?![{0}]))?"  # C++, C#, A+, but not a+b


def _runs_of(word: str) -> re.Pattern[str]:
    return re.compile(f"[{word}]+(?:'[{word}]+)*{_SIGNS.format(word)}")


_runs = _runs_of(f"\\w{_MARKS}{_EMOJI}")  # of a folded text without underscores
_ascii_runs = _runs_of("a-z0-9")
_pieces = re.compile(f"([{_DENSE}]+)|[^{_DENSE}]+").finditer
_parts = re.compile("[^'+#]+").finditer
has_dense = re.compile(f"[{_DENSE}]").search

Token: TypeAlias = "tuple[str, int, int]"  # a word, where it begins and where it ends


def fold(text: str) -> str:
    """Return the text without case, accents and ligatures."""
    if text.isascii():
        return text.lower().replace("`", "'")
    if any(char in text for char in _LOST):
        text = text.translate(_KEPT)
    folded = unicodedata.normalize("NFKC", _cut_marks(text)).casefold()
    bare = _drop("", unicodedata.normalize("NFKD", folded)).translate(_LETTERS)
    return unicodedata.normalize("NFC", _cut_marks(bare))


def _cut_marks(text: str) -> str:
    return _many_marks.sub(r"\1", text) if _may_have_many_marks(text) else text


def words(text: str) -> set[str]:
    """Return the words of a text that is to be found."""
    folded = prepared(text)
    found = set(_pattern(folded).findall(folded))
    plain = set() if has_dense(folded) else {run for run in found if run.isalnum()}
    return {run[:MAX_WORD] for run in plain} | {word for run in found - plain for word, _, _ in _tokens(run, 0)}


def tokens(folded: str) -> Iterator[Token]:
    """Give the same words of a prepared text, and where they stand in it."""
    is_dense = bool(has_dense(folded))
    for run in _pattern(folded).finditer(folded):
        if is_dense or not run[0].isalnum():
            yield from _tokens(run[0], run.start())
        else:
            yield run[0][:MAX_WORD], run.start(), run.end()


def prepared(text: str) -> str:
    """Return the folded text that words are looked for in."""
    return fold(text).replace("_", " ")


def sort_key(text: str) -> str:
    """Return what decides the place of a title: its words, without the quotes and signs around them."""
    folded = prepared(text)
    return " ".join(_pattern(folded).findall(folded)) or folded


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
    folded = prepared(question)
    pieces = (piece for run in _pattern(folded).findall(folded) for piece in _pieces(run))
    asked = [piece for piece in pieces if piece[1] or _parts_of(piece[0])]
    found: dict[str, Term] = {}
    for index, piece in enumerate(asked):
        is_dense, is_last = bool(piece[1]), index == len(asked) - 1
        for word in _pairs(piece[0]) if is_dense else [_whole(piece[0])]:
            is_prefix = len(word) == 1 if is_dense else is_last
            if word not in found or not is_prefix:
                found[word] = Term(word, is_prefix)
    return list(found.values())


def _pattern(folded: str) -> re.Pattern[str]:
    return _ascii_runs if folded.isascii() else _runs


def _tokens(run: str, start: int) -> Iterator[Token]:
    """Give the words of what stands between spaces."""
    for piece in _pieces(run):
        first, last = start + piece.start(), start + piece.end()
        if piece[1]:
            yield from ((pair, first + index, first + index + 2) for index, pair in enumerate(_pairs(piece[0], 2)))
            yield piece[0][-1], last - 1, last
            continue
        parts = _parts_of(piece[0])
        for part in parts:
            yield part[0][:MAX_WORD], first + part.start(), first + part.end()
        if parts and parts[0][0] != piece[0]:
            yield _whole(piece[0]), first + parts[0].start(), last - piece[0].endswith("'")


def _parts_of(piece: str) -> list[re.Match[str]]:
    return list(_parts(piece))


def _whole(piece: str) -> str:
    return piece.replace("'", "")[:MAX_WORD]


def _pairs(run: str, least: int = 1) -> list[str]:
    """Return the pairs of characters; of a run of one that one, unless each has at least two."""
    return [run[index : index + 2] for index in range(len(run) - 1)] or ([run] if least <= len(run) else [])
