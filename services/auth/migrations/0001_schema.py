"""Create the tables."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField
from shared.database.idempotency import IdempotencyKeyColumns
from shared.database.tables import own_table
from shared.feed.outbox import FactColumns
from shared.mail.outbox import MailColumns

REPLACES = ("0001_initial", "0002_mail", "0003_accounts", "0004_domains", "0006_reply_to", "0007_signin_sources")


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the tables as they are at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=50)
        name_folded = peewee.CharField(max_length=200, constraints=[peewee.SQL("DEFAULT ''")])
        email = peewee.CharField(max_length=254)
        email_folded = peewee.CharField(max_length=254, unique=True)
        password_hash = peewee.CharField(max_length=200)
        role = peewee.CharField(max_length=9)
        status = peewee.CharField(max_length=9)
        email_verified = peewee.BooleanField()
        version = peewee.IntegerField()
        created_at = TimestampField()
        last_login = TimestampField(null=True)

        class Meta:
            indexes = ((("created_at", "id"), False), (("name_folded", "id"), False))

    class Profile(Model):
        user = peewee.ForeignKeyField(User, primary_key=True, on_delete="CASCADE")
        bio = peewee.CharField(max_length=500, null=True)
        avatar = IdField(null=True)

    class Session(Model):
        id = IdField(primary_key=True)
        user = peewee.ForeignKeyField(User, on_delete="CASCADE")
        remember = peewee.BooleanField()
        cookie_only = peewee.BooleanField(constraints=[peewee.SQL("DEFAULT FALSE")])
        user_agent = peewee.CharField(max_length=200)
        address = peewee.CharField(max_length=64)
        created_at = TimestampField()
        last_used_at = TimestampField()
        expires_at = TimestampField()
        revoked_at = TimestampField(null=True)

    class RefreshToken(Model):
        hash = peewee.BlobField(primary_key=True)
        session = peewee.ForeignKeyField(Session, on_delete="CASCADE", index=False)
        expires_at = TimestampField()
        replaced_at = TimestampField(null=True)
        successor = peewee.BlobField(null=True)

        class Meta:
            indexes = ((("session", "replaced_at"), False),)

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

    class FailedLogin(Model):
        id = peewee.BigAutoField()
        account = peewee.CharField(max_length=64)
        source = peewee.CharField(max_length=64, constraints=[peewee.SQL("DEFAULT ''")])
        created_at = TimestampField(index=True)

        class Meta:
            indexes = ((("account", "created_at"), False),)

    class SigninSource(Model):
        id = peewee.BigAutoField()
        user = peewee.ForeignKeyField(User, on_delete="CASCADE", index=False)
        digest = peewee.CharField(max_length=64)
        kind = peewee.CharField(max_length=7)
        last_used_at = TimestampField(index=True)

        class Meta:
            indexes = ((("user", "digest"), True),)

    class AuditEvent(Model):
        id = IdField(primary_key=True)
        kind = peewee.CharField(max_length=40)
        user_id = IdField(null=True)
        actor_id = IdField(null=True)
        address = peewee.CharField(max_length=64)
        request_id = peewee.CharField(max_length=128)
        created_at = TimestampField()
        detail = peewee.TextField()

        class Meta:
            indexes = (
                (("created_at", "id"), False),
                (("kind", "created_at", "id"), False),
                (("user_id", "created_at", "id"), False),
            )

    common = [own_table(columns, db) for columns in (FactColumns, IdempotencyKeyColumns, MailColumns)]
    accounts = [User, Profile, Session, RefreshToken, MailToken, LinkRequest, FailedLogin, SigninSource, AuditEvent]
    return [*common, *accounts]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
