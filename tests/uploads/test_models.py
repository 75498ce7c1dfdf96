from pathlib import Path

from playhouse.migrations import Runner

from services.uploads import MIGRATIONS
from services.uploads.models import Fact, FeedPosition, IdempotencyKey, Upload
from shared.db import connect
from tests.helpers import assert_models_match_migrations

TABLES = (Fact, FeedPosition, IdempotencyKey, Upload)


def test_models_and_migrations_agree(database_url: str) -> None:
    database = connect(database_url)
    assert_models_match_migrations(TABLES, database, MIGRATIONS)
    database.close()


def test_the_first_migration_can_be_taken_back(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/test.db")
    with database.connection_context():
        runner = Runner(database, str(MIGRATIONS))
        runner.up()
        runner.down()
        assert set(database.get_tables()) <= {"schema_migration", "sqlite_sequence"}
