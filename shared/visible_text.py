"""Tell text that a person can see from text that only looks empty."""

import re
import unicodedata

_SEEN = ("L", "N", "P", "S", "Mc", "Cn")  # general categories; Cn: this Python may be older than a script or an emoji
# Letters, symbols and unassigned code points of those categories that fonts draw as nothing (UAX 44,
# Default_Ignorable_Code_Point; the braille pattern without a dot; the musical note without a head).
_is_blank = re.compile("[\u115f\u1160\u2065\u2800\u3164\uffa0\ufff0-\ufff8\U0001d159\U000e0000-\U000e0fff]").match


def has_visible_character(text: str) -> bool:
    """Return whether at least one character is visible; a combining mark alone is not."""
    return any(unicodedata.category(character).startswith(_SEEN) and not _is_blank(character) for character in text)
