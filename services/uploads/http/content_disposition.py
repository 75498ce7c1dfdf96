"""Build Content-Disposition (RFC 6266): a safe file name for the browser, whatever the uploading client sent."""

import re
import unicodedata
from urllib.parse import quote

from services.uploads.file_types.registry import FileType

_separators = re.compile(r"[/\\]")
_unquotable = re.compile(r"[^ !#$&-\[\]-~]")
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, among them those that turn the reading direction
_JOINERS = "\u200c\u200d"  # of that category, but part of how Persian, Sinhala and emoji are written
_BLACK_FLAG, _TAGS = "\U0001f3f4", frozenset(map(chr, range(0xE0020, 0xE0080)))  # the flags of England and others


def disposition(filename: str, kind: FileType, attached: bool) -> str:
    """Return the header, with `filename*` (RFC 8187) and an ASCII fallback where the name is not ASCII."""
    name = safe_name(filename, kind)
    plain = _unquotable.sub("_", name)
    header = f'{"attachment" if attached else "inline"}; filename="{plain}"'
    return header if plain == name else f"{header}; filename*=UTF-8''{quote(name, safe='')}"


def safe_name(filename: str, kind: FileType) -> str:
    """Return the last component of the name, without invisible characters, with the extension of its type."""
    last = _separators.split(filename)[-1]
    shown = _JOINERS if _BLACK_FLAG not in last else _TAGS.union(_JOINERS)
    name = "".join(char for char in last if char in shown or unicodedata.category(char) not in _INVISIBLE).strip(" .")
    if not name.lower().endswith(tuple(f".{extension}" for extension in kind.extensions)):
        name = f"{name or 'file'}.{kind.extension}"
    return name
