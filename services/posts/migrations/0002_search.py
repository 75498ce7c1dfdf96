"""Number what was published, and let it be found by its words."""

import orjson
import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.connection import is_postgres

_NUMBER = """
    UPDATE post SET publication = numbered.place
    FROM (SELECT number, row_number() OVER (ORDER BY published_at, number) AS place
          FROM post WHERE published_at IS NOT NULL) AS numbered
    WHERE post.number = numbered.number"""
_LISTED = """
    SELECT number, publication, author_id, title, tags, content
    FROM post JOIN post_content ON post_id = number WHERE listed_at IS NOT NULL ORDER BY publication"""


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    migrator.migrate(migrator.add_column("post", "publication", peewee.BigIntegerField(null=True, unique=True)))
    db.execute_sql(_NUMBER)
    if is_postgres(db):
        _up_postgres(db)
    else:
        # Unlike a contentless table, this one needs no help of today's Python to take a post out in years.
        db.execute_sql(
            "CREATE VIRTUAL TABLE post_search USING fts5(lexemes, detail=none, columnsize=0, tokenize='ascii')"
        )
    _fill(db)


def _up_postgres(db: peewee.Database) -> None:
    db.execute_sql("CREATE SEQUENCE post_publication_seq OWNED BY post.publication")
    db.execute_sql("SELECT setval('post_publication_seq', (SELECT coalesce(max(publication), 0) + 1 FROM post), false)")
    db.execute_sql("CREATE TABLE post_search (publication bigint PRIMARY KEY, lexemes tsvector NOT NULL)")
    # Lexemes apart from the row, so that thousands of matches are read from few pages.
    db.execute_sql("ALTER TABLE post_search ALTER lexemes SET STORAGE EXTERNAL")
    db.execute_sql("ALTER TABLE post_search SET (toast_tuple_target = 128)")
    # Every search reads the list of what is not in the tree yet, so it must stay short.
    db.execute_sql(
        "CREATE INDEX post_search_lexemes ON post_search USING gin (lexemes) WITH (gin_pending_list_limit = 256)"
    )


def _fill(db: peewee.Database) -> None:
    """Index what is there; the words are those of today, since all that is written later must fit them."""
    from services.posts.search import index

    place = "%s" if is_postgres(db) else "?"
    tags_of = f"SELECT tag_id FROM post_tag WHERE post_id = {place}"  # noqa: S608
    for number, publication, author, title, tags, content in db.execute_sql(_LISTED).fetchall():
        labels = [(index.AUTHOR_ID, author), *((index.TAG_ID, tag) for (tag,) in db.execute_sql(tags_of, (number,)))]
        index.put(publication, index.lexemes(publication, title, orjson.loads(tags), content, labels))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("DROP TABLE post_search")
    migrator.migrate(migrator.drop_index("post", "post_publication"), migrator.drop_column("post", "publication"))
