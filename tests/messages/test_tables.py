import peewee

from services.messages import models
from services.messages.app import MIGRATIONS
from shared.database.connection import connect
from tests.helpers import assert_models_match_migrations

TABLES = [
    table
    for table in vars(models).values()
    if isinstance(table, type) and issubclass(table, peewee.Model) and table._meta.database is models.database
    and table is not models.Model
]  # fmt: skip


def test_the_migrations_make_the_tables_of_the_models(empty_database_url: str) -> None:
    assert_models_match_migrations(TABLES, connect(empty_database_url), MIGRATIONS)
