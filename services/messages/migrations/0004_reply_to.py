"""Keep to whom the answer to a mail goes."""

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("ALTER TABLE mail ADD COLUMN reply_to VARCHAR(254)")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("ALTER TABLE mail DROP COLUMN reply_to")
