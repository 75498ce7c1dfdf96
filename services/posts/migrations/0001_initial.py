"""Create the tables."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.connection import is_postgres
from shared.database.fields import IdField, TimestampField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the tables as they were at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Fact(Model):
        id = peewee.BigAutoField()
        transaction = peewee.BigIntegerField()
        type = peewee.CharField(max_length=64)
        subject = peewee.CharField(max_length=64)
        data = peewee.TextField()
        created_at = TimestampField(index=True)

        class Meta:
            indexes = ((("transaction", "id"), False),)

    class FeedPosition(Model):
        source = peewee.CharField(max_length=64, primary_key=True)
        event_id = peewee.CharField(max_length=64)

    class IdempotencyKey(Model):
        user_id = IdField()
        key = peewee.CharField(max_length=255)
        fingerprint = peewee.CharField(max_length=64)
        status = peewee.SmallIntegerField()
        headers = peewee.TextField()
        body = peewee.BlobField()
        created_at = TimestampField(index=True)

        class Meta:
            primary_key = peewee.CompositeKey("user_id", "key")

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

    class Post(Model):
        number = peewee.BigAutoField()
        id = IdField(unique=True)
        author = peewee.ForeignKeyField(Author, index=False)
        title = peewee.CharField(max_length=200)
        slug = peewee.CharField(max_length=120, unique=True)
        excerpt = peewee.CharField(max_length=300)
        excerpt_is_own = peewee.BooleanField()
        status = peewee.CharField(max_length=9)
        tags = peewee.TextField()
        cover_image = IdField(null=True)
        views = peewee.IntegerField()
        like_count = peewee.IntegerField()
        comment_count = peewee.IntegerField()
        version = peewee.IntegerField()
        published_at = TimestampField(null=True)
        listed_at = TimestampField(null=True)
        created_at = TimestampField()
        updated_at = TimestampField()
        deleted_at = TimestampField(null=True)

        class Meta:
            indexes = (
                (("listed_at", "number"), False),
                (("author", "listed_at", "number"), False),
                (("author", "status", "created_at", "number"), False),
            )

    class PostContent(Model):
        post = peewee.ForeignKeyField(Post, primary_key=True)
        content = peewee.TextField()

    class Tag(Model):
        id = peewee.AutoField()
        folded = peewee.TextField(unique=True)
        name = peewee.CharField(max_length=50)

    class PostTag(Model):
        post = peewee.ForeignKeyField(Post, index=False)
        tag = peewee.ForeignKeyField(Tag, index=False)
        listed_at = TimestampField(null=True)

        class Meta:
            primary_key = peewee.CompositeKey("post", "tag")
            without_rowid = not is_postgres(db)  # no table besides the two indexes
            indexes = ((("tag", "listed_at", "post"), False),)

    class Comment(Model):
        number = peewee.BigAutoField()
        id = IdField(unique=True)
        post = peewee.ForeignKeyField(Post, index=False)
        author = peewee.ForeignKeyField(Author)
        parent = peewee.ForeignKeyField("self", null=True)
        depth = peewee.SmallIntegerField()
        content = peewee.TextField()
        status = peewee.CharField(max_length=9)
        version = peewee.IntegerField()
        created_at = TimestampField()
        updated_at = TimestampField()

        class Meta:
            indexes = ((("post", "number"), False),)

    return [Fact, FeedPosition, IdempotencyKey, Counter, Author, Post, PostContent, Tag, PostTag, Comment]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    tables = models(db)
    db.create_tables(tables)
    db.execute_sql("INSERT INTO counter (name, value) VALUES ('listed posts', 0)")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
