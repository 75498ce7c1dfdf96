"""The forms in which addresses and names are compared, searched and sorted."""

import unicodedata


def plain_email(email: str) -> str:
    """Return the form in which addresses get mail: NFKC, so that a full-width @ is one."""
    return unicodedata.normalize("NFKC", email)


def fold_email(email: str) -> str:
    """Return the form in which addresses are compared: NFKC and lower case."""
    return plain_email(email).lower()


def fold_name(name: str) -> str:
    """Return the form in which names are searched and sorted: NFKC, without case."""
    return unicodedata.normalize("NFKC", name).casefold()[:200]
