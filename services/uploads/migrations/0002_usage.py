"""Count the bytes of each user."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new tables as they were at this point."""

    class Usage(peewee.Model):
        user_id = IdField(primary_key=True)
        bytes = peewee.BigIntegerField()

        class Meta:
            database = db
            legacy_table_names = False

    return [Usage]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))
    db.execute_sql("INSERT INTO usage (user_id, bytes) SELECT user_id, SUM(size) FROM upload GROUP BY user_id")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.drop_tables(models(db))
