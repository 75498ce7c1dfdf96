"""Count failed logins by where they come from, and let the tokens of a session be in cookies alone."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.connection import is_postgres
from shared.database.fields import IdField, TimestampField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new tables as they were at this point."""

    class Model(peewee.Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Model):
        id = IdField(primary_key=True)

    class SigninSource(Model):
        id = peewee.BigAutoField()
        user = peewee.ForeignKeyField(User, on_delete="CASCADE", index=False)
        digest = peewee.CharField(max_length=64)
        kind = peewee.CharField(max_length=7)
        last_used_at = TimestampField(index=True)

        class Meta:
            indexes = ((("user", "digest"), True),)

    return [SigninSource]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))
    db.execute_sql("ALTER TABLE failed_login ADD COLUMN source VARCHAR(64) DEFAULT '' NOT NULL")
    boolean = "BOOLEAN" if is_postgres(db) else "INTEGER"
    db.execute_sql(f"ALTER TABLE session ADD COLUMN cookie_only {boolean} DEFAULT FALSE NOT NULL")
    db.execute_sql("CREATE INDEX refresh_token_session_id_replaced_at ON refresh_token (session_id, replaced_at)")
    db.execute_sql("DROP INDEX refresh_token_session_id")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("CREATE INDEX refresh_token_session_id ON refresh_token (session_id)")
    db.execute_sql("DROP INDEX refresh_token_session_id_replaced_at")
    db.execute_sql("ALTER TABLE session DROP COLUMN cookie_only")
    db.execute_sql("ALTER TABLE failed_login DROP COLUMN source")
    db.drop_tables(models(db))
