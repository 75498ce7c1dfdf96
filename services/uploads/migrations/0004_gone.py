"""Remember for a while that a user was deleted."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import TimestampField


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    migrator.add_column("usage", "gone_at", TimestampField(null=True)).run()


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    migrator.drop_column("usage", "gone_at").run()
