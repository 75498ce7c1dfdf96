"""Ids that sort by the time they were made: UUID version 7 (RFC 9562, section 5.7)."""

import secrets
import uuid
from datetime import datetime

from shared import clock
from shared.problems import Problem


def new_id() -> str:
    """Make a UUIDv7: 48 bits of milliseconds, then 74 random bits."""
    milliseconds = int(clock.now().timestamp() * 1000)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64
    value |= 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def first_id(moment: datetime) -> str:
    """Return the smallest id of that moment."""
    return str(uuid.UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62))


def is_id(text: str) -> bool:
    """Return whether the text is a UUIDv7 in canonical lower-case form."""
    try:
        parsed = uuid.UUID(text)
    except ValueError:
        return False
    return parsed.version == 7 and str(parsed) == text


def id_or_404(text: str) -> str:
    """Return the id; raise NOT_FOUND if it is not a UUIDv7."""
    if not is_id(text):
        raise Problem("NOT_FOUND")
    return text
