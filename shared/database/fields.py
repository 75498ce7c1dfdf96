"""Column types that SQLite and PostgreSQL store alike: moments in UTC, and ids."""

from datetime import datetime
from typing import Any

import peewee

from shared import clock, ids

FIELD_TYPES_SQLITE = {"UTC": "TEXT"}
FIELD_TYPES_POSTGRES = {"UTC": "TIMESTAMPTZ"}


class TimestampField(peewee.Field):
    """An aware moment in UTC: timestamptz on PostgreSQL, RFC 3339 text that sorts on SQLite."""

    field_type = "UTC"

    def db_value(self, value: Any) -> str | None:
        return clock.rfc3339(value) if isinstance(value, datetime) else value

    def python_value(self, value: Any) -> datetime | None:
        return datetime.fromisoformat(value) if isinstance(value, str) else value


class IdField(peewee.CharField):
    """A UUIDv7 in text form."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=36, **options)


def id_field() -> Any:
    """Declare a primary key that is made when the row is."""
    return IdField(primary_key=True, default=ids.new_id)
