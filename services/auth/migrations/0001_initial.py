"""Create the tables."""

import peewee
from playhouse.migrate import SchemaMigrator

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

    class User(Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=50)
        email = peewee.CharField(max_length=254)
        email_folded = peewee.CharField(max_length=254, unique=True)
        password_hash = peewee.CharField(max_length=200)
        role = peewee.CharField(max_length=9)
        status = peewee.CharField(max_length=9)
        email_verified = peewee.BooleanField()
        version = peewee.IntegerField()
        created_at = TimestampField()
        last_login = TimestampField(null=True)

    class Profile(Model):
        user = peewee.ForeignKeyField(User, primary_key=True, on_delete="CASCADE")
        bio = peewee.CharField(max_length=500, null=True)
        avatar = IdField(null=True)

    class Session(Model):
        id = IdField(primary_key=True)
        user = peewee.ForeignKeyField(User, on_delete="CASCADE")
        remember = peewee.BooleanField()
        user_agent = peewee.CharField(max_length=200)
        address = peewee.CharField(max_length=64)
        created_at = TimestampField()
        last_used_at = TimestampField()
        expires_at = TimestampField()
        revoked_at = TimestampField(null=True)

    class RefreshToken(Model):
        hash = peewee.BlobField(primary_key=True)
        session = peewee.ForeignKeyField(Session, on_delete="CASCADE")
        expires_at = TimestampField()
        replaced_at = TimestampField(null=True)
        successor = peewee.BlobField(null=True)

    return [Fact, IdempotencyKey, User, Profile, Session, RefreshToken]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
