"""Keep rows of the search apart from their lexemes on PostgreSQL, so that thousands of matches lie on few pages."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.connection import is_postgres

# PostgreSQL moves a value out of a row only when the row exceeds 2 KB, and then to the target below. The filler makes
# every row exceed it and is compressed to some bytes: 90 rows to a page instead of 9.
_UP = (
    """CREATE TABLE post_search_rows (
        publication bigint NOT NULL, lexemes tsvector NOT NULL, filler text NOT NULL DEFAULT repeat(' ', 2000)
    )""",
    "ALTER TABLE post_search_rows ALTER lexemes SET STORAGE EXTERNAL",
    "ALTER TABLE post_search_rows SET (toast_tuple_target = 128)",
    """INSERT INTO post_search_rows (publication, lexemes)
        SELECT publication, lexemes FROM post_search ORDER BY publication""",
    "DROP TABLE post_search",
    "ALTER TABLE post_search_rows RENAME TO post_search",
    "ALTER TABLE post_search ADD PRIMARY KEY (publication)",
    "CREATE INDEX post_search_lexemes ON post_search USING gin (lexemes) WITH (gin_pending_list_limit = 256)",
)


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    for statement in _UP if is_postgres(db) else ():
        db.execute_sql(statement)


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    if is_postgres(db):
        db.execute_sql("ALTER TABLE post_search DROP COLUMN filler")
