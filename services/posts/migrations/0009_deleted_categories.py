"""Remember which categories are deleted until no post refers to them any more."""

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import TimestampField


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    migrator.migrate(migrator.add_column("category", "deleted_at", TimestampField(null=True)))


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    gone = "SELECT id FROM category WHERE deleted_at IS NOT NULL"
    db.execute_sql(f"UPDATE post SET category_id = NULL WHERE category_id IN ({gone})")  # noqa: S608 (own names)
    db.execute_sql("DELETE FROM category WHERE deleted_at IS NOT NULL")
    migrator.migrate(migrator.drop_column("category", "deleted_at"))
