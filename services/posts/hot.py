"""Read what is read most in constant SQL: the list without a filter, matches of a search, one post.

To build such a query and its rows from models takes several times as long as the database does.
"""

from collections import namedtuple
from collections.abc import Sequence
from functools import cache
from typing import Any

from services.posts import post_queries
from services.posts.models import Counter, database
from services.posts.post_queries import COLUMNS, Row
from services.posts.slugs import spellings
from shared.database.connection import execute
from shared.database.pagination import Order, set_place
from shared.ids import is_id
from shared.problems import Problem

_names = [column.rpartition(" ")[2].rpartition(".")[2] for column in COLUMNS]
_Item = namedtuple("_Item", _names)  # type: ignore[misc]
_Whole = namedtuple("_Whole", [*_names, "content"])  # type: ignore[misc]
_FROM = """FROM post
    LEFT JOIN author ON author.id = post.author_id
    LEFT JOIN category ON category.id = post.category_id AND category.deleted_at IS NULL"""
_ITEMS = f"SELECT {', '.join(COLUMNS)} {_FROM} WHERE post.listed_at IS NOT NULL"
_ONE = f"""SELECT {", ".join(COLUMNS)}, content.content {_FROM}
    JOIN post_content AS content ON content.post_id = post.number WHERE post.deleted_at IS NULL"""


def page(sort: str, args: dict[str, Any]) -> list[Row]:
    """Return one page of all posts that everybody may see; the envelope is filled in."""
    order, limit, cursor = post_queries.LISTED[sort], args["limit"], args.get("cursor")
    place = order.values(cursor) if cursor else []
    skipped, total = 0 if cursor else (args.get("page", 1) - 1) * limit, Counter.listed_posts()
    if skipped:
        rows = _run(_Item, _page_behind(sort), (limit + 1, skipped)) if skipped < total else []
    else:
        rows = _run(_Item, _page(sort, limit + 1, after=bool(cursor)), place)
    has_more = len(rows) > limit
    set_place(args, total, True, order.cursor(rows[limit - 1]) if has_more else None)
    return rows[:limit]


@cache
def _page(sort: str, limit: int, *, after: bool) -> str:
    """Return what names its limit: where that is a value, PostgreSQL makes the plan anew each time."""
    order: Order = post_queries.LISTED[sort]
    sign = "<" if order.descending else ">"
    beyond = f" AND ({', '.join(_columns(order))}) {sign} ({', '.join('?' * len(order.columns))})" if after else ""
    return f"{_ITEMS}{beyond} ORDER BY {_by(order)} LIMIT {limit}"


@cache
def _page_behind(sort: str) -> str:
    """Return what passes over the rows of earlier pages in the index alone: to read them costs many times as much."""
    by = _by(post_queries.LISTED[sort])
    numbers = f"SELECT post.number FROM post WHERE post.listed_at IS NOT NULL ORDER BY {by} LIMIT ? OFFSET ?"  # noqa: S608
    return f"{_ITEMS} AND post.number IN ({numbers}) ORDER BY {by}"


def _by(order: Order) -> str:
    direction = "DESC" if order.descending else "ASC"
    return ", ".join(f"{column} {direction}" for column in _columns(order))


def _columns(order: Order) -> list[str]:
    return [f"post.{name}" for name in order.columns]


def found(publications: list[int]) -> list[Row]:
    """Return those of the posts that everybody may see, in the same order."""
    rows = _run(_Item, f"{_ITEMS} AND post.publication IN ({_places(publications)})", publications)
    known = {row.publication: row for row in rows}
    return [known[publication] for publication in publications if publication in known]


def one_post(key: str) -> Row:
    """Return a post by its id or slug, with its content, or raise NOT_FOUND."""
    if is_id(key):
        rows = _run(_Whole, f"{_ONE} AND post.id = ?", (key,))
    else:
        slugs = spellings(key)
        rows = _run(_Whole, f"{_ONE} AND post.slug IN ({_places(slugs)})", slugs)
        rows.sort(key=lambda row: slugs.index(row.slug))
    if not rows:
        raise Problem("NOT_FOUND")
    return rows[0]


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values)) or "NULL"


def _run(row: Any, sql: str, values: Sequence[Any]) -> list[Row]:
    return list(map(row._make, execute(database, sql, values).fetchall()))
