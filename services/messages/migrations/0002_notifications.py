"""Add notifications, and what they are made of: whom they name and who likes what."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new tables as they were at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class Person(Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=200, null=True)
        avatar = peewee.TextField(null=True)
        deleted = peewee.BooleanField()
        told_at = TimestampField(null=True)

    class Notification(Model):
        id = IdField(primary_key=True)
        user_id = IdField()
        key = peewee.CharField(max_length=64)
        type = peewee.CharField(max_length=8)
        actor_id = IdField(null=True, index=True)
        post_id = IdField(null=True, index=True)
        post_title = peewee.CharField(max_length=200, null=True)
        comment_id = IdField(null=True, index=True)
        role = peewee.CharField(max_length=9, null=True)
        likes = peewee.IntegerField(null=True)
        read = peewee.BooleanField()
        version = peewee.IntegerField()
        created_at = TimestampField()

        class Meta:
            indexes = (
                (("user_id", "key"), True),
                (("user_id", "created_at", "id"), False),
                (("user_id", "read", "likes"), False),
            )

    class Liker(Model):
        post_id = IdField()
        user_id = IdField(index=True)
        likes = peewee.BooleanField()
        liked_at = TimestampField()

        class Meta:
            primary_key = peewee.CompositeKey("post_id", "user_id")
            indexes = ((("post_id", "liked_at"), False),)

    return [Person, Notification, Liker]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
