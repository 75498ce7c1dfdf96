"""Pagination by page or by cursor (keyset pagination), each in two queries; a cursor costs the same at any depth."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import marshmallow as ma
import orjson
import peewee
from flask import after_this_request, current_app, g

from shared.problems import Problem
from shared.web.link_header import add_links
from shared.web.schema import Integer, Schema

COUNT_CAP = 10_000
MAX_LIMIT = 100
MAX_CURSOR = 2000  # characters, which fits a title of 200 in any script
_SEAL = 12
Query: TypeAlias = "peewee.ModelSelect[Any]"


class PageQuerySchema(Schema):
    """The query of all lists; `page` and `cursor` exclude each other."""

    page = Integer(low=1, high=10**9)
    limit = Integer(low=1, high=MAX_LIMIT, load_default=20)
    cursor = ma.fields.String(validate=ma.validate.Length(max=MAX_CURSOR))

    @ma.validates_schema
    def _one_of_both(self, data: dict[str, Any], **kwargs: Any) -> None:
        if "page" in data and "cursor" in data:
            raise ma.ValidationError("Give page or cursor, not both.", "cursor")


class Order:
    """The order of a list: by these columns, all ascending or all descending, the last one unique, none NULL."""

    def __init__(self, name: str, columns: Sequence[peewee.Field], descending: bool = True) -> None:
        self.name = name
        self._label = ",".join((name, *(column.name for column in columns)))
        self._columns = columns
        self.columns = [column.column_name for column in columns]
        self.descending = descending

    def sort(self, query: Query) -> Query:
        return query.order_by(*(column.desc() if self.descending else column for column in self._columns))

    def after(self, query: Query, values: list[Any]) -> Query:
        """Select the rows after these values, by a row-value comparison, which uses the index."""
        row = peewee.Tuple(*self._columns)
        place = peewee.Tuple(*(column.db_value(value) for column, value in zip(self._columns, values, strict=True)))
        return query.where(row < place if self.descending else row > place)

    def cursor(self, row: Any) -> str:
        """Return the cursor of a row, which is a model or a dict."""
        get = row.get if isinstance(row, dict) else partial(getattr, row)
        values = [column.db_value(get(column.name)) for column in self._columns]
        return write_cursor(self._label, values)

    def values(self, cursor: str) -> list[Any]:
        """Return the values of a cursor of this order; raise VALIDATION_ERROR for any other text."""
        return read_cursor(self._label, cursor)


def write_cursor(label: str, values: list[Any]) -> str:
    """Return values as an opaque, signed cursor for the list of that label."""
    payload = orjson.dumps([label, *values])
    return _text(_seal(payload) + payload)


def read_cursor(label: str, cursor: str) -> list[Any]:
    """Return the values of a cursor of that list; raise VALIDATION_ERROR for any other text."""
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        sealed = b""
    seal, payload = sealed[:_SEAL], sealed[_SEAL:]
    if _text(sealed) == cursor and hmac.compare_digest(seal, _seal(payload)):
        made_for, *values = orjson.loads(payload)
        if made_for == label:
            return list(values)
    raise Problem("VALIDATION_ERROR", errors={"cursor": ["Is not a cursor of this list."]})


def _text(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _seal(payload: bytes) -> bytes:
    key = current_app.config["INTERNAL_TOKEN"].encode()[:64]
    return hashlib.blake2b(payload, key=key, person=b"cursor", digest_size=_SEAL).digest()


def paginate(query: Query, order: Order, args: dict[str, Any], total: Callable[[], int] | None = None) -> list[Any]:
    """Run an unordered query for one page and return its rows; set `pagination` of the envelope and Link.

    `args` are those of `PageQuerySchema`. `total` counts an unfiltered list exactly; without it up to
    `COUNT_CAP` matches are counted.
    """
    limit, cursor = args["limit"], args.get("cursor")
    skipped = 0 if cursor else (args.get("page", 1) - 1) * limit
    rows = order.sort(order.after(query, order.values(cursor)) if cursor else query).limit(_as_text(limit + 1))
    rows = rows.offset(skipped) if skipped else rows
    count = total() if total else query.order_by().limit(_as_text(COUNT_CAP + 1)).count(clear_limit=False)
    exact = total is not None or count <= COUNT_CAP
    found = [] if exact and skipped and skipped >= count else list(rows)
    has_more, found = len(found) > limit, found[:limit]
    set_place(args, count if exact else COUNT_CAP, exact, order.cursor(found[-1]) if has_more else None)
    return found


def _as_text(limit: int) -> Any:
    """Return a limit as SQL text; as a bound value, PostgreSQL would plan the statement each time."""
    return peewee.SQL(str(limit))


def set_place(args: dict[str, Any], total: int, exact: bool, next_cursor: str | None) -> None:
    """Set `pagination` of the envelope and the Link header; without `next_cursor` this page is the last."""
    limit = args["limit"]
    g.pagination = {
        "page": None if args.get("cursor") else args.get("page", 1),
        "limit": limit,
        "total": total,
        "totalPages": -(-total // limit),
        "totalIsExact": exact,
        "hasMore": next_cursor is not None,
        "nextCursor": next_cursor,
    }
    after_this_request(add_links)
