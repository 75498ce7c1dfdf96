"""Put posts into categories, and count the posts of tags and categories."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField

_COUNT = """
    UPDATE tag SET post_count = (
        SELECT count(*) FROM post_tag WHERE post_tag.tag_id = tag.id AND post_tag.listed_at IS NOT NULL)"""


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new table as it was at this point."""

    class Category(peewee.Model):
        id = IdField(primary_key=True)
        name = peewee.CharField(max_length=50)
        folded = peewee.TextField(unique=True)
        slug = peewee.CharField(max_length=120, unique=True)
        post_count = peewee.IntegerField()
        version = peewee.IntegerField()

        class Meta:
            database = db
            legacy_table_names = False

    return [Category]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    category: Any = models(db)[0]
    db.create_tables([category])
    link = peewee.ForeignKeyField(category, field=category.id, null=True, index=False)
    migrator.migrate(
        migrator.add_column("post", "category_id", link),
        migrator.add_column("tag", "post_count", peewee.IntegerField(default=0)),
    )
    db.execute_sql("CREATE INDEX post_category_id_listed_at_number ON post (category_id, listed_at, number)")
    db.execute_sql(_COUNT)
    db.execute_sql("CREATE INDEX tag_post_count_id ON tag (post_count, id)")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("DROP INDEX tag_post_count_id")
    db.execute_sql("DROP INDEX post_category_id_listed_at_number")
    migrator.migrate(migrator.drop_column("tag", "post_count"), migrator.drop_column("post", "category_id"))
    db.drop_tables(models(db))
