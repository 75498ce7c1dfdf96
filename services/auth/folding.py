"""The form in which names are searched and sorted; that of addresses is the kit's."""

import unicodedata


def fold_name(name: str) -> str:
    """Return the form in which names are searched and sorted: NFKC, without case."""
    return unicodedata.normalize("NFKC", name).casefold()[:200]
