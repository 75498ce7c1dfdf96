"""Find the posts that an image is the cover of."""

import peewee
from playhouse.migrate import SchemaMigrator


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("CREATE INDEX post_cover_image ON post (cover_image) WHERE cover_image IS NOT NULL")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("DROP INDEX post_cover_image")
