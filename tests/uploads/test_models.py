from pathlib import Path

from playhouse.migrations import Runner

from services.uploads.app import MIGRATIONS
from services.uploads.models import Fact, FeedPosition, IdempotencyKey, Resumable, Upload, Usage
from shared.database.connection import connect
from tests.helpers import assert_models_match_migrations

TABLES = (Fact, FeedPosition, IdempotencyKey, Resumable, Upload, Usage)


def test_models_and_migrations_agree(empty_database_url: str) -> None:
    database = connect(empty_database_url)
    assert_models_match_migrations(TABLES, database, MIGRATIONS)
    database.close()


def test_the_migrations_can_be_taken_back(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/test.db")
    with database.connection_context():
        runner = Runner(database, str(MIGRATIONS))
        for _ in runner.up():
            runner.down()
        assert set(database.get_tables()) <= {"schema_migration", "sqlite_sequence"}
