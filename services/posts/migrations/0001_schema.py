"""Create the tables and the search index."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.connection import is_postgres
from shared.database.fields import IdField, TimestampField
from shared.database.idempotency import IdempotencyKeyColumns
from shared.database.tables import own_table
from shared.feed.outbox import FactColumns, FeedPositionColumns

REPLACES = (
    "0001_initial",
    "0002_search",
    "0003_likes_views",
    "0004_categories",
    "0005_comments",
    "0006_cover_images",
    "0007_wide_tag_ids",
    "0008_search_rows",
    "0009_deleted_categories",
    "0010_folding",
)
# Unlike a contentless table, this one needs no help of today's Python to take a post out in years.
_SEARCH_SQLITE = "CREATE VIRTUAL TABLE post_search USING fts5(lexemes, detail=none, columnsize=0, tokenize='ascii')"
# PostgreSQL moves a value out of a row only when the row exceeds 2 KB, and then to the target below. The filler makes
# every row exceed it and is compressed to some bytes: 90 rows to a page instead of 9, so that thousands of matches lie
# on few pages. Every search reads the list of what is not in the tree of the index yet, so that list must stay short.
_SEARCH_POSTGRES = (
    "CREATE SEQUENCE post_publication_seq OWNED BY post.publication",
    """CREATE TABLE post_search (
        publication bigint PRIMARY KEY, lexemes tsvector NOT NULL, filler text NOT NULL DEFAULT repeat(' ', 2000)
    ) WITH (toast_tuple_target = 128)""",
    "ALTER TABLE post_search ALTER lexemes SET STORAGE EXTERNAL",
    "CREATE INDEX post_search_lexemes ON post_search USING gin (lexemes) WITH (gin_pending_list_limit = 256)",
)


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the tables as they are at this point."""
    without_rowid = not is_postgres(db)  # no table besides the indexes
    by_code_point = '"C"' if is_postgres(db) else None  # SQLite's order, whatever the collation of the database

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Counter(Model):
        name = peewee.CharField(max_length=32, primary_key=True)
        value = peewee.BigIntegerField()

    class Author(Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=200)
        folded = peewee.TextField()
        avatar = peewee.TextField(null=True)
        deleted = peewee.BooleanField()
        told_at = TimestampField(null=True)

    class Category(Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=50)
        folded = peewee.TextField(unique=True)
        slug = peewee.CharField(max_length=120, unique=True, collation=by_code_point)
        post_count = peewee.IntegerField()
        version = peewee.IntegerField()
        deleted_at = TimestampField(null=True)

    class Post(Model):
        number: Any = peewee.BigAutoField()
        id = IdField(unique=True)
        author = peewee.ForeignKeyField(Author, index=False)
        category = peewee.ForeignKeyField(Category, null=True, index=False)
        title = peewee.CharField(max_length=200)
        title_key: Any = peewee.CharField(max_length=64, collation=by_code_point)
        slug = peewee.CharField(max_length=120, unique=True)
        excerpt = peewee.CharField(max_length=300)
        excerpt_is_own = peewee.BooleanField()
        status = peewee.CharField(max_length=9)
        tags = peewee.TextField()
        cover_image: Any = IdField(null=True)
        views: Any = peewee.IntegerField()
        like_count: Any = peewee.IntegerField()
        comment_count = peewee.IntegerField()
        version = peewee.IntegerField()
        publication = peewee.BigIntegerField(null=True, unique=True)
        published_at = TimestampField(null=True)
        listed_at: Any = TimestampField(null=True)
        created_at = TimestampField()
        updated_at = TimestampField()
        deleted_at = TimestampField(null=True)

        class Meta:
            indexes = (
                (("listed_at", "number"), False),
                (("author", "listed_at", "number"), False),
                (("category", "listed_at", "number"), False),
                (("author", "status", "created_at", "number"), False),
            )

    for sorted_by in (Post.title_key, Post.views, Post.like_count):
        Post.add_index(Post.index(sorted_by, Post.number, where=Post.listed_at.is_null(False)))
    Post.add_index(Post.index(Post.cover_image, where=Post.cover_image.is_null(False)))

    class PostContent(Model):
        post = peewee.ForeignKeyField(Post, primary_key=True)
        content = peewee.TextField()

    class Tag(Model):
        id = peewee.BigAutoField()
        folded = peewee.TextField(unique=True)
        name = peewee.CharField(max_length=50)
        post_count = peewee.IntegerField()

        class Meta:
            indexes = ((("post_count", "id"), False),)

    class PostTag(Model):
        post = peewee.ForeignKeyField(Post, index=False)
        tag = peewee.ForeignKeyField(Tag, index=False)
        listed_at = TimestampField(null=True)

        class Meta:
            primary_key = peewee.CompositeKey("post", "tag")
            indexes = ((("tag", "listed_at", "post"), False),)

    class PostLike(Model):
        post = peewee.ForeignKeyField(Post, index=False)
        user_id = IdField()
        created_at = TimestampField()

        class Meta:
            primary_key = peewee.CompositeKey("post", "user_id")

    class PostView(Model):
        post = peewee.ForeignKeyField(Post, index=False)
        viewer = peewee.CharField(max_length=32)
        seen_at = TimestampField(index=True)

        class Meta:
            primary_key = peewee.CompositeKey("post", "viewer")

    for of_post in (PostTag, PostLike, PostView):
        of_post._meta.without_rowid = without_rowid

    class Comment(Model):
        number = peewee.BigAutoField()
        id = IdField(unique=True)
        post = peewee.ForeignKeyField(Post, index=False)
        author = peewee.ForeignKeyField(Author)
        parent = peewee.ForeignKeyField("self", null=True)
        root = peewee.BigIntegerField(null=True)
        depth = peewee.SmallIntegerField()
        content = peewee.TextField()
        status = peewee.CharField(max_length=9)
        version = peewee.IntegerField()
        created_at = TimestampField()
        updated_at = TimestampField()

        class Meta:
            indexes = ((("post", "number"), False), (("post", "root", "number"), False), (("status", "number"), False))

    class CommentTime(Model):
        id = peewee.BigAutoField()
        user_id = IdField()
        created_at = TimestampField()

        class Meta:
            indexes = ((("user_id", "created_at"), False),)

    common = [own_table(columns, db) for columns in (FactColumns, FeedPositionColumns, IdempotencyKeyColumns)]
    posts = [Counter, Author, Category, Post, PostContent, Tag, PostTag, PostLike, PostView, Comment, CommentTime]
    return [*common, *posts]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))
    db.execute_sql("INSERT INTO counter (name, value) VALUES ('listed posts', 0)")
    for statement in _SEARCH_POSTGRES if is_postgres(db) else (_SEARCH_SQLITE,):
        db.execute_sql(statement)


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("DROP TABLE post_search")
    db.drop_tables(models(db))
