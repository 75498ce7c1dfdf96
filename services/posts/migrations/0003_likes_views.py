"""Remember who likes and who looked, and sort lists by title, views and likes."""

import peewee
from playhouse.migrate import SchemaMigrator

from services.posts.text import fold
from shared.database.connection import is_postgres
from shared.database.fields import IdField, TimestampField

SORTED = ("title_key", "views", "like_count")


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new tables as they were at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Post(Model):
        number = peewee.BigAutoField()

    class PostLike(Model):
        post = peewee.ForeignKeyField(Post, index=False)
        user_id = IdField()
        created_at = TimestampField()

        class Meta:
            primary_key = peewee.CompositeKey("post", "user_id")
            without_rowid = not is_postgres(db)

    class PostView(Model):
        post = peewee.ForeignKeyField(Post, index=False)
        viewer = peewee.CharField(max_length=32)
        seen_at = TimestampField(index=True)

        class Meta:
            primary_key = peewee.CompositeKey("post", "viewer")
            without_rowid = not is_postgres(db)

    return [PostLike, PostView]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))
    migrator.migrate(migrator.add_column("post", "title_key", peewee.CharField(max_length=64, default="")))
    place = "%s" if is_postgres(db) else "?"
    for number, title in db.execute_sql("SELECT number, title FROM post").fetchall():
        db.execute_sql(f"UPDATE post SET title_key = {place} WHERE number = {place}", (fold(title)[:64], number))  # noqa: S608
    for column in SORTED:
        name = f"post_{column}_number"
        db.execute_sql(f"CREATE INDEX {name} ON post ({column}, number) WHERE listed_at IS NOT NULL")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    for column in SORTED:
        db.execute_sql(f"DROP INDEX post_{column}_number")
    migrator.migrate(migrator.drop_column("post", "title_key"))
    db.drop_tables(models(db))
