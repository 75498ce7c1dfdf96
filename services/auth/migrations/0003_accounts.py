"""Add what administration needs: names to search by, failed logins, security events."""

import unicodedata

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField

BATCH = 1000


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new tables as they were at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class FailedLogin(Model):
        id = peewee.BigAutoField()
        account = peewee.CharField(max_length=64)
        created_at = TimestampField(index=True)

        class Meta:
            indexes = ((("account", "created_at"), False),)

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

    return [FailedLogin, AuditEvent]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))
    db.execute_sql("ALTER TABLE \"user\" ADD COLUMN name_folded VARCHAR(200) DEFAULT '' NOT NULL")
    _fold_names(db)
    db.execute_sql('CREATE INDEX user_created_at_id ON "user" (created_at, id)')
    db.execute_sql('CREATE INDEX user_name_folded_id ON "user" (name_folded, id)')


def _fold_names(db: peewee.Database) -> None:
    class User(peewee.Model):
        id = IdField(primary_key=True)
        name = peewee.CharField()
        name_folded = peewee.CharField()

        class Meta:
            database = db
            legacy_table_names = False

    last = ""
    while rows := list(User.select(User.id, User.name).where(User.id > last).order_by(User.id).limit(BATCH)):
        for row in rows:
            folded = unicodedata.normalize("NFKC", row.name).casefold()[:200]
            User.update(name_folded=folded).where(User.id == row.id).execute()
        last = rows[-1].id


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("DROP INDEX user_created_at_id")
    db.execute_sql("DROP INDEX user_name_folded_id")
    db.execute_sql('ALTER TABLE "user" DROP COLUMN name_folded')
    db.drop_tables(models(db))
