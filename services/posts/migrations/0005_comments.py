"""Find whole conversations at once, hide comments, and know how often somebody comments."""

from typing import Any

import peewee
from playhouse.migrate import SchemaMigrator

from shared.database.fields import IdField, TimestampField

_ROOT = """
    UPDATE comment SET root = (
        SELECT coalesce(parent.root, parent.number) FROM comment AS parent WHERE parent.number = comment.parent_id)
    WHERE depth = {depth}"""


def models(db: peewee.Database) -> list[type[peewee.Model]]:
    """Return the new table as it was at this point."""

    class CommentTime(peewee.Model):
        id = peewee.BigAutoField()
        user_id = IdField()
        created_at = TimestampField()

        class Meta:
            database = db
            legacy_table_names = False
            indexes = ((("user_id", "created_at"), False),)

    return [CommentTime]


def up(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.create_tables(models(db))
    root: Any = peewee.BigIntegerField(null=True)
    migrator.migrate(migrator.add_column("comment", "root", root))
    for depth in range(2, 7):
        db.execute_sql(_ROOT.format(depth=depth))
    db.execute_sql("CREATE INDEX comment_post_id_root_number ON comment (post_id, root, number)")
    db.execute_sql("CREATE INDEX comment_status_number ON comment (status, number)")


def down(migrator: SchemaMigrator, db: peewee.Database) -> None:
    db.execute_sql("DROP INDEX comment_status_number")
    db.execute_sql("DROP INDEX comment_post_id_root_number")
    migrator.migrate(migrator.drop_column("comment", "root"))
    db.drop_tables(models(db))
