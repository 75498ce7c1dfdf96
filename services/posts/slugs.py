"""Make the readable part of a post's address from its title, in any script, and read it in any spelling."""

import secrets
import unicodedata
from collections.abc import Iterator
from itertools import dropwhile

from services.posts.text import cut_at, fold
from shared.ids import is_id

MAX_LENGTH = 120  # of a stored slug
MAX_SPELLING = 4 * MAX_LENGTH  # decomposed letters are up to four code points
DELETED_MARK = "~"  # then the number: what a deleted post's slug ends in; no title makes one
_LENGTH = 80  # of what comes from the title
_ATTEMPTS = 5
_IGNORED = frozenset("'\u2018\u2019\u02bb\u02bc")  # apostrophes, as in don't


def slugify(title: str) -> str:
    """Return the title's letters, digits and marks in lower case, with hyphens between the words."""
    words = ["".join(dropwhile(_is_mark, word)) for word in "".join(map(_keep, _folded(title))).split()]
    return cut_at(_folded("-".join(filter(None, words))), _LENGTH, "-") or "post"


def _folded(text: str) -> str:
    """Return the one form of a slug; both letters i of Turkish become the one that capitals of a slug fold to."""
    return fold(text).replace("i\u0307", "i").replace("ı", "i")


def _keep(char: str) -> str:
    """Return what becomes of one character; invisible ones, as those that join letters, vanish."""
    kind = unicodedata.category(char)
    if kind == "Cf" or char in _IGNORED:
        return ""
    return char if kind[0] in "LNM" else " "


def _is_mark(char: str) -> bool:
    """Tell whether the character belongs on one before it, as a sign that was on an emoji."""
    return unicodedata.category(char)[0] == "M"


def candidates(title: str) -> Iterator[str]:
    """Give the slug to try first, then some with a random end for when it is taken."""
    slug = slugify(title)
    if not is_id(slug):  # or the post could not be reached by it
        yield slug
    for _ in range(_ATTEMPTS):
        yield f"{slug}-{secrets.token_hex(3)}"


def spellings(text: str) -> list[str]:
    """Return what a slug may be stored as, the text as it is first: any Unicode form and case of a slug names it.

    Those of earlier versions may have a dot on an i, or an i without one. Not every text can be asked a database for.
    """
    if len(text) > MAX_SPELLING:
        return []
    possible = dict.fromkeys((text, fold(text), _folded(text)))
    return [slug for slug in possible if len(slug) <= MAX_LENGTH and slug.isprintable()]
