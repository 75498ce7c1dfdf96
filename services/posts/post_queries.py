"""Select what lists and single posts show: each in one query, along one index."""

from collections import namedtuple
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any, TypeAlias

import peewee

from services.posts import text
from services.posts.models import Author, Category, Comment, Counter, Post, PostContent, PostTag, Tag, database
from services.posts.search import index, tokenizer
from services.posts.slugs import spellings
from shared.database.connection import execute, is_postgres
from shared.database.pagination import Order, set_place
from shared.ids import is_id
from shared.problems import Problem

MAX_REPLIES = 2_000  # of one page of conversations
MAX_SORTED = 2_000  # posts that are sorted rather than looked for along the order
MAX_AUTHORS = 1000  # of a name, when their posts are searched
Query: TypeAlias = "peewee.ModelSelect[Any]"
Row = Any  # has the columns of a query as attributes
_category = Category.alias("category")
_post, _author, _post_tag = Post.alias("post"), Author.alias("author"), PostTag.alias("post_tag")
# Text, because to write it from fields each time takes longer than the query itself.
COLUMNS = (
    "post.number",
    "post.id",
    "post.title",
    "post.title_key",
    "post.slug",
    "post.excerpt",
    "post.status",
    "post.tags AS tags_json",
    "post.cover_image",
    "post.views",
    "post.like_count",
    "post.comment_count",
    "post.version",
    "post.publication",
    "post.published_at",
    "post.listed_at",
    "post.created_at",
    "post.updated_at",
    "post.author_id",
    "author.name AS author_name",
    "author.avatar AS author_avatar",
    "category.id AS category_id",
    "category.name AS category_name",
    "category.slug AS category_slug",
)
_ITEM = [peewee.SQL(column) for column in COLUMNS]
_TAGGED = peewee.SQL("post_tag.post_id AS post")

NEWEST = Order("newest", (_post.listed_at, _post.number))
NEWEST_OF_TAG = Order("newest of tag", (_post_tag.listed_at, _post_tag.post))
LAST_CREATED = Order("last created", (_post.created_at, _post.number))
SORTED = {
    "title": Order("title", (_post.title_key, _post.number), descending=False),
    "views": Order("views", (_post.views, _post.number)),
    "likes": Order("likes", (_post.like_count, _post.number)),
}
LISTED = SORTED | {"newest": NEWEST, "oldest": Order("oldest", (_post.listed_at, _post.number), descending=False)}
LISTED_WITH_TAG = SORTED | {
    "newest": NEWEST_OF_TAG,
    "oldest": Order("oldest of tag", (_post_tag.listed_at, _post_tag.post), descending=False),
}
UNLISTED = SORTED | {
    "newest": LAST_CREATED,
    "oldest": Order("earliest created", (_post.created_at, _post.number), descending=False),
}
MOST_USED = Order("most used", (Tag.post_count, Tag.id))
BY_SLUG = Order("slug", (Category.slug,), descending=False)
LATEST_COMMENT = Order("latest", (Comment.number,))
EARLIEST_COMMENT = Order("earliest", (Comment.number,), descending=False)


def listed() -> Query:
    """Select the posts that everybody may see; sort by NEWEST."""
    return _with_author(_post.select(*_ITEM)).where(_post.listed_at.is_null(False))


def listed_with(tags: list[str]) -> Query:
    """Select those of them that have all of these tags; sort by NEWEST_OF_TAG."""
    rarest, *others = _rarest_first(tags)
    query = _post_tag.select(*_ITEM, _TAGGED).join(_post, peewee.JOIN.LEFT_OUTER)
    query = _with_author(query).where(_post_tag.tag == _tag_id(rarest), _post_tag.listed_at.is_null(False))
    return _narrowed(query, _post_tag.post, others)


@dataclass(frozen=True)
class Filter:
    """What a list is narrowed to: an author by id or part of the name, all of the tags, a category by its slug."""

    author: str | None = None
    tags: tuple[str, ...] = ()
    category: str | None = None

    def names_author(self) -> bool:
        """Tell whether the author is given by a part of the name, which several may have."""
        return bool(self.author) and not is_id(self.author or "")

    def on(self, query: Query, *, by_index: bool = True) -> Query:
        """Narrow posts to the author and the category."""
        # The sum of two texts has no index, so that the one of the order is taken.
        author, category = (field if by_index else field.concat("") for field in (_post.author, _post.category))
        if self.author:
            query = query.where(_is_author(author, self.author))
        if self.category:
            query = query.where(category == Category.id_of(self.category))
        return query


def filtered(filter: Filter, sort: str) -> tuple[Query, Order]:
    """Select the posts that everybody may see and that the filter leaves, and return the order.

    Where no index has both, those of few posts are found by the filter's and then sorted; else the order's is walked.
    """
    tags = list(filter.tags)
    query, order = (listed_with(tags), LISTED_WITH_TAG[sort]) if tags else (listed(), LISTED[sort])
    query = filter.on(query)
    is_one_index = filter == Filter() or (sort not in SORTED and (tags or not filter.names_author()))
    known = stored_total(filter)
    if is_one_index or (known() if known else query.limit(MAX_SORTED + 1).count(clear_limit=False)) <= MAX_SORTED:
        return query, order
    return filter.on(_narrowed(listed(), _post.number, _rarest_first(tags)), by_index=False), order


def stored_total(filter: Filter) -> Callable[[], int] | None:
    """Return what reads the number of posts of one tag or one category, which is kept; None for any other filter."""
    counts: Query
    if filter == Filter(tags=filter.tags[:1]) and filter.tags:
        counts = Tag.select(Tag.post_count).where(Tag.folded == text.fold(filter.tags[0]))
    elif filter == Filter(category=filter.category) and filter.category:
        counts = Category.select(Category.post_count).where(Category.id == Category.id_of(filter.category))
    else:
        return None
    return lambda: counts.scalar() or 0


def used_tags() -> Query:
    """Select the tags of posts that everybody may see; sort by MOST_USED."""
    return Tag.select().where(Tag.post_count > 0)


def with_publications(publications: list[int]) -> Query:
    """Select those of them that everybody may see."""
    if is_postgres(database):
        is_one = peewee.SQL("post.publication = ANY(%s::bigint[])", [publications])
    else:
        is_one = peewee.SQL("post.publication IN (SELECT value FROM json_each(?))", [str(publications)])
    return listed().where(is_one)


def contents(rows: list[Row]) -> dict[int, str]:
    """Return the contents of posts by their numbers."""
    query = PostContent.select(PostContent.post, PostContent.content)
    found: Any = query.where(PostContent.post.in_([row.number for row in rows])).tuples()
    return dict(found)


def labels(filter: Filter) -> list[list[tuple[str, str | int]]]:
    """Return what search is to filter by: one label out of each group."""
    folded = [text.fold(name) for name in filter.tags]
    rows: Any = folded and Tag.select(Tag.folded, Tag.id).where(Tag.folded.in_(folded)).tuples()
    ids = dict(rows)
    groups: list[list[tuple[str, str | int]]] = [[(index.TAG_ID, ids[name])] if name in ids else [] for name in folded]
    if filter.category:
        groups.append([(index.CATEGORY_ID, category.id) for category in Category.id_of(filter.category)])
    if filter.author:
        groups.append([(index.AUTHOR_ID, author_id) for author_id in _ids_of(filter.author)])
    return groups


def _ids_of(author: str) -> list[str]:
    if is_id(author):
        return [author]
    ids = [row.id for row in _named(author).limit(MAX_AUTHORS + 1)]
    if len(ids) > MAX_AUTHORS:
        raise Problem("VALIDATION_ERROR", errors={"author": [f"With q at most {MAX_AUTHORS} authors may have it."]})
    return ids


def with_status(status: str, tags: list[str]) -> Query:
    """Select the posts of another status, whoever wrote them, that have all of these tags; sort by LAST_CREATED."""
    query = _with_author(_post.select(*_ITEM)).where(_post.status == status, _post.deleted_at.is_null())
    return _narrowed(query, _post.number, _rarest_first(tags))


def written_by(author: str) -> Any:
    """Return the condition on a post for its author's id or a part of the name."""
    return _is_author(_post.author, author)


def _is_author(column: Any, author: str) -> Any:
    return column == author if is_id(author) else column.in_(_named(author))


def _named(part: str) -> Query:
    folded = tokenizer.fold(part)
    return Author.select(Author.id).where(Author.folded.contains(folded), ~Author.deleted, bool(folded))


def _with_author(query: Query) -> Query:
    """Join author and category from the left: what is only counted needs no join, and databases leave it out."""
    query = query.join_from(_post, _author, peewee.JOIN.LEFT_OUTER)
    is_its = (_category.id == _post.category) & _category.deleted_at.is_null()
    return query.join_from(_post, _category, peewee.JOIN.LEFT_OUTER, on=is_its).objects(SimpleNamespace)


def _rarest_first(tags: list[str]) -> list[str]:
    """Return the folded names, that of the tag with the fewest posts first: its posts are walked."""
    folded = list(dict.fromkeys(map(text.fold, tags)))
    if len(folded) < 2:
        return folded
    counts: Any = Tag.select(Tag.folded, Tag.post_count).where(Tag.folded.in_(folded)).tuples()
    known: dict[str, int] = dict(counts)
    return sorted(folded, key=lambda name: known.get(name, 0))


def _tag_id(folded: str) -> Query:
    return Tag.select(Tag.id).where(Tag.folded == folded)


def _narrowed(query: Query, number: peewee.Field, folded: list[str]) -> Query:
    """Keep the posts that have all of the tags.

    The first is a join, so that the database may begin with it. The others are counted: PostgreSQL needs 0.4 s to
    plan 20 joins.
    """
    other, one, more = PostTag.alias(), peewee.SQL("1"), folded[1:]
    if folded:
        joined = other.select(one).where(other.post == number, other.tag == _tag_id(folded[0]))
        query = query.where(peewee.fn.EXISTS(joined))
    if more:
        ids = Tag.select(Tag.id).where(Tag.folded.in_(more))
        counted = other.select(peewee.fn.COUNT(one)).where(other.post == number, other.tag.in_(ids))
        query = query.where(counted == len(more))
    return query


def comments() -> Query:
    """Select comments as they are shown."""
    parent = Comment.alias()
    return (
        Comment.select(
            Comment.number,
            Comment.id,
            Post.id.alias("post_id"),
            parent.id.alias("parent_id"),
            Comment.depth,
            Comment.author.alias("author_id"),
            Author.name.alias("author_name"),
            Author.avatar.alias("author_avatar"),
            Comment.content,
            Comment.status,
            Comment.created_at,
            Comment.updated_at,
        )
        .join(Post, peewee.JOIN.LEFT_OUTER)
        .join_from(Comment, Author, peewee.JOIN.LEFT_OUTER)
        .join_from(Comment, parent, peewee.JOIN.LEFT_OUTER, on=(Comment.parent == parent.number))
        .objects(SimpleNamespace)
    )


def comments_of(post_number: int) -> Query:
    """Select the comments on a post; sort by EARLIEST_COMMENT."""
    return comments().where(Comment.post == post_number)


def roots_of(post_number: int) -> Query:
    """Select those that answer no other; sort by EARLIEST_COMMENT."""
    return comments_of(post_number).where(Comment.root.is_null())


def replies_to(post_number: int, roots: list[int]) -> Query:
    """Select the answers, at any depth, to comments on a post: what is answered stands before."""
    query = comments_of(post_number).where(Comment.root.in_(roots))
    return query.order_by(Comment.root, Comment.number).limit(MAX_REPLIES)


def comments_with(status: str) -> Query:
    """Select the comments of a status on all posts that are there; sort by LATEST_COMMENT."""
    return comments().where(Comment.status == status, Post.deleted_at.is_null())


def post_id(number: int) -> str:
    return str(Post.select(Post.id).where(Post.number == number).scalar())


_names = [column.rpartition(" ")[2].rpartition(".")[2] for column in COLUMNS]


_Item = namedtuple("_Item", _names)  # type: ignore[misc]


_Whole = namedtuple("_Whole", [*_names, "content"])  # type: ignore[misc]


_FROM = """FROM post
    LEFT JOIN author ON author.id = post.author_id
    LEFT JOIN category ON category.id = post.category_id AND category.deleted_at IS NULL"""


_SELECT_LISTED = f"SELECT {', '.join(COLUMNS)} {_FROM} WHERE post.listed_at IS NOT NULL"


_SELECT_ONE = f"""SELECT {", ".join(COLUMNS)}, content.content {_FROM}
    JOIN post_content AS content ON content.post_id = post.number WHERE post.deleted_at IS NULL"""


def listed_page(sort: str, args: dict[str, Any]) -> list[Row]:
    """Return one page of all posts that everybody may see; the envelope is filled in."""
    order, limit, cursor = LISTED[sort], args["limit"], args.get("cursor")
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
    order: Order = LISTED[sort]
    sign = "<" if order.descending else ">"
    beyond = f" AND ({', '.join(_columns(order))}) {sign} ({', '.join('?' * len(order.columns))})" if after else ""
    return f"{_SELECT_LISTED}{beyond} ORDER BY {_by(order)} LIMIT {limit}"


@cache
def _page_behind(sort: str) -> str:
    """Return what passes over the rows of earlier pages in the index alone: to read them costs many times as much."""
    by = _by(LISTED[sort])
    numbers = f"SELECT post.number FROM post WHERE post.listed_at IS NOT NULL ORDER BY {by} LIMIT ? OFFSET ?"  # noqa: S608
    return f"{_SELECT_LISTED} AND post.number IN ({numbers}) ORDER BY {by}"


def _by(order: Order) -> str:
    direction = "DESC" if order.descending else "ASC"
    return ", ".join(f"{column} {direction}" for column in _columns(order))


def _columns(order: Order) -> list[str]:
    return [f"post.{name}" for name in order.columns]


def found_posts(publications: list[int]) -> list[Row]:
    """Return those of the posts that everybody may see, in the same order."""
    rows = _run(_Item, f"{_SELECT_LISTED} AND post.publication IN ({_places(publications)})", publications)
    known = {row.publication: row for row in rows}
    return [known[publication] for publication in publications if publication in known]


def one_post(key: str) -> Row:
    """Return a post by its id or slug, with its content, or raise NOT_FOUND."""
    if is_id(key):
        rows = _run(_Whole, f"{_SELECT_ONE} AND post.id = ?", (key,))
    else:
        slugs = spellings(key)
        rows = _run(_Whole, f"{_SELECT_ONE} AND post.slug IN ({_places(slugs)})", slugs)
        rows.sort(key=lambda row: slugs.index(row.slug))
    if not rows:
        raise Problem("NOT_FOUND")
    return rows[0]


def _places(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values)) or "NULL"


def _run(row: Any, sql: str, values: Sequence[Any]) -> list[Row]:
    return list(map(row._make, execute(database, sql, values).fetchall()))
