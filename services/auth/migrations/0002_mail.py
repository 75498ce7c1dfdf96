"""Add mails, the links in them, and the requests for such links."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new tables as they were at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Model):
        id = IdField(primary_key=True)

    class Mail(Model):
        id = IdField(primary_key=True)
        kind = peewee.CharField(max_length=32)
        recipient = peewee.CharField(max_length=254)
        subject = peewee.CharField(max_length=200)
        body = peewee.TextField()
        created_at = TimestampField()
        expires_at = TimestampField()
        attempts = peewee.SmallIntegerField()
        next_attempt_at = TimestampField(null=True, index=True)
        sent_at = TimestampField(null=True)
        error = peewee.CharField(max_length=200, null=True)

    class MailToken(Model):
        hash = peewee.BlobField(primary_key=True)
        user = peewee.ForeignKeyField(User, on_delete="CASCADE")
        purpose = peewee.CharField(max_length=16)
        email_folded = peewee.CharField(max_length=254)
        expires_at = TimestampField(index=True)

    class LinkRequest(Model):
        email_folded = peewee.CharField(max_length=254)
        purpose = peewee.CharField(max_length=16)
        requested_at = TimestampField(index=True)
        pending = peewee.BooleanField()

        class Meta:
            primary_key = peewee.CompositeKey("email_folded", "purpose")

    return [Mail, MailToken, LinkRequest]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
