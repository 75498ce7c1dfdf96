"""Make many posts out of some, inside the database: a million takes minutes this way instead of an hour.

Copies differ in number, id, slug and time, and their words stand in parts of the index of their own.
"""

from services.posts.models import database
from services.posts.search.index import AUTHOR_ID, CATEGORY_ID, PART_SIZE, TAG, TAG_ID, TITLE, WORD
from shared.database.connection import execute, is_postgres

KINDS = (WORD, TITLE, TAG, AUTHOR_ID, TAG_ID, CATEGORY_ID)
COPIED = (
    "author_id, category_id, title, title_key, excerpt, excerpt_is_own, status, tags, cover_image, views, like_count,"
    " comment_count, version"
)


def multiply(posts: int) -> None:
    """Bring the posts to at least so many by copies of those that there are."""
    have = execute(database, "SELECT count(*) FROM post").fetchone()[0]
    if have >= posts:
        return
    last = execute(database, "SELECT max(number) FROM post").fetchone()[0]
    shift = -(-(last + 1) // PART_SIZE) * PART_SIZE
    if is_postgres(database):
        database.execute_sql("SET statement_timeout = 0; SET maintenance_work_mem = '256MB'")
        database.execute_sql("DROP INDEX post_search_lexemes")  # to fill it takes longer than to make it
    for copy in range(1, -(-posts // have)):
        with database.atomic():
            for statement in _statements(shift * copy, copy, shift):
                database.execute_sql(statement)
    if is_postgres(database):
        make = "CREATE INDEX post_search_lexemes ON post_search USING gin (lexemes) WITH (gin_pending_list_limit = 256)"
        database.execute_sql(make)
    _set_counts()


def _statements(shift: int, copy: int, end: int) -> list[str]:
    """Return what copies all rows of posts below `end`; made of numbers and names of this module only."""
    if is_postgres(database):
        later, number = f"{{}} + interval '{copy * 60} days'", f"lpad(to_hex(number + {shift}), 12, '0')"
        lexemes, was, now = (
            "lexemes::text",
            f"(publication / {PART_SIZE})",
            f"(publication / {PART_SIZE} + {shift // PART_SIZE})",
        )
        search, key, start, cast = "publication", "publication", "''''", "::tsvector"
    else:
        later = f"strftime('%Y-%m-%dT%H:%M:%S', {{0}}, '+{copy * 60} days') || substr({{0}}, 20)"
        number, lexemes = f"printf('%012x', number + {shift})", "' ' || lexemes"
        was, now = f"(rowid / {PART_SIZE})", f"(rowid / {PART_SIZE} + {shift // PART_SIZE})"
        search, key, start, cast = "rowid", "rowid", "' '", ""
    for kind in KINDS:
        lexemes = f"replace({lexemes}, {start} || '{kind}' || {was} || 'x', {start} || '{kind}' || {now} || 'x')"
    moments = ("published_at", "listed_at", "created_at", "updated_at")
    return [
        f"""INSERT INTO post (number, id, slug, publication, {", ".join(moments)}, {COPIED})
            SELECT number + {shift}, substr(id, 1, 24) || {number}, slug || '-{copy}', publication + {shift},
                {", ".join(later.format(moment) for moment in moments)}, {COPIED}
            FROM post WHERE number < {end} AND deleted_at IS NULL""",
        f"""INSERT INTO post_content (post_id, content)
            SELECT post_id + {shift}, content FROM post_content WHERE post_id < {end}""",
        f"""INSERT INTO post_tag (post_id, tag_id, listed_at)
            SELECT post_id + {shift}, tag_id, {later.format("listed_at")} FROM post_tag WHERE post_id < {end}""",
        f"""INSERT INTO post_search ({search}, lexemes)
            SELECT {key} + {shift}, ({lexemes}){cast} FROM post_search WHERE {key} < {end}""",
    ]


def _set_counts() -> None:
    """Count all, as the writes of single posts would have."""
    for statement in (
        """UPDATE counter SET value = (SELECT count(*) FROM post WHERE listed_at IS NOT NULL)
            WHERE name = 'listed posts'""",
        """UPDATE tag SET post_count = (
            SELECT count(*) FROM post_tag WHERE tag_id = tag.id AND listed_at IS NOT NULL)""",
    ):
        database.execute_sql(statement)
    if is_postgres(database):
        for sequence, column in (("post_publication_seq", "publication"), ("post_number_seq", "number")):
            database.execute_sql(f"SELECT setval('{sequence}', (SELECT max({column}) FROM post))")
        database.execute_sql("ANALYZE")
