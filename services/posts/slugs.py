"""Make the readable part of a post's address from its title, in any script."""

import secrets
import unicodedata
from collections.abc import Iterator
from itertools import dropwhile

from services.posts.text import cut_at, fold
from shared.ids import is_id

MAX_LENGTH = 120  # of a stored slug
FREED = "~"  # then the number: what a deleted post's slug ends in; no title makes one
_LENGTH = 80  # of what comes from the title
_ATTEMPTS = 5
_IGNORED = frozenset("'\u2019\u02bc")  # apostrophes, as in don't


def slugify(title: str) -> str:
    """Return the title's letters, digits and marks in lower case, with hyphens between the words."""
    words = ["".join(dropwhile(_is_mark, word)) for word in "".join(map(_keep, fold(title))).split()]
    return cut_at("-".join(filter(None, words)), _LENGTH, "-") or "post"


def _keep(char: str) -> str:
    """Return what becomes of one character; invisible ones, as those that join letters, vanish."""
    kind = unicodedata.category(char)
    if kind[0] in "LNM":
        return char
    return "" if kind == "Cf" or char in _IGNORED else " "


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


def may_be_slug(text: str) -> bool:
    """Tell whether it is worth asking a database for; not every text can be asked for."""
    return len(text) <= MAX_LENGTH and text.isprintable()
