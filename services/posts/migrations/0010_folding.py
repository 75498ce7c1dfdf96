"""Fold texts as today: index all posts anew, sort titles by words and code points, find authors without accents.

Slugs of posts stay; those of categories lose the dot that a Turkish capital left, and are still found with it.
"""

from collections.abc import Iterator
from typing import Any

import orjson
import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.connection import execute, is_postgres

BATCH = 500  # rows
# The same order as SQLite's, whatever the collation of the database.
_COLLATED = (
    'ALTER TABLE post ALTER title_key TYPE varchar(64) COLLATE "C"',
    'ALTER TABLE category ALTER slug TYPE varchar(120) COLLATE "C"',
)
_EMPTIED = ("DROP INDEX post_search_lexemes", "TRUNCATE post_search")
_INDEXED = "CREATE INDEX post_search_lexemes ON post_search USING gin (lexemes) WITH (gin_pending_list_limit = 256)"
_EMPTIED_SQLITE = (
    "DROP TABLE post_search",
    "CREATE VIRTUAL TABLE post_search USING fts5(lexemes, detail=none, columnsize=0, tokenize='ascii')",
)
_TITLES = "SELECT number, title FROM post WHERE number > ? ORDER BY number LIMIT ?"
_AUTHORS = "SELECT id, name FROM author WHERE id > ? AND NOT deleted ORDER BY id LIMIT ?"
_LISTED = """
    SELECT publication, number, author_id, category_id, title, tags, content
    FROM post JOIN post_content ON post_id = number
    WHERE publication > ? AND listed_at IS NOT NULL ORDER BY publication LIMIT ?"""


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    from services.posts.posts import title_key
    from services.posts.search.tokenizer import fold

    for statement in _COLLATED if is_postgres(db) else ():
        db.execute_sql(statement)
    for number, title in _rows(db, _TITLES, 0):
        execute(db, "UPDATE post SET title_key = ? WHERE number = ?", (title_key(title), number))
    for author_id, name in _rows(db, _AUTHORS, ""):
        execute(db, "UPDATE author SET folded = ? WHERE id = ?", (fold(name), author_id))
    _fold_categories(db)
    for statement in _EMPTIED if is_postgres(db) else _EMPTIED_SQLITE:
        db.execute_sql(statement)
    _fill(db)
    if is_postgres(db):
        db.execute_sql(_INDEXED)


def _fold_categories(db: peewee.Database) -> None:
    from services.posts.slugs import candidates, spellings

    slugs = dict(db.execute_sql("SELECT slug, id FROM category WHERE deleted_at IS NULL").fetchall())
    for slug, category_id in list(slugs.items()):
        folded = spellings(slug)[-1]
        if folded != slug:
            free = next(candidate for candidate in candidates(folded) if candidate not in slugs)
            slugs[free] = category_id
            execute(db, "UPDATE category SET slug = ? WHERE id = ?", (free, category_id))


def _fill(db: peewee.Database) -> None:
    """Index what everybody may see; the words are those of today, since all that is written later must fit them."""
    from services.posts.search import index

    for publication, number, author, category, title, tags, content in _rows(db, _LISTED, 0):
        tag_ids = execute(db, "SELECT tag_id FROM post_tag WHERE post_id = ?", (number,)).fetchall()
        labels = [(index.AUTHOR_ID, author), *((index.TAG_ID, tag) for (tag,) in tag_ids)]
        labels += [(index.CATEGORY_ID, category)] if category else []
        index.put(publication, index.lexemes(publication, title, orjson.loads(tags), content, labels))


def _rows(db: peewee.Database, query: str, first: Any) -> Iterator[tuple[Any, ...]]:
    """Give all rows of a query along its first column; some at a time, since contents are large."""
    last = first
    while rows := execute(db, query, (last, BATCH)).fetchall():
        yield from rows
        last = rows[-1][0]


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    """Leave what is folded: an earlier version finds it by most words."""
    for column in ("post ALTER title_key TYPE varchar(64)", "category ALTER slug TYPE varchar(120)"):
        if is_postgres(db):
            db.execute_sql(f'ALTER TABLE {column} COLLATE "default"')
