from pathlib import Path

from playhouse.migrations import Runner

from services.uploads.app import MIGRATIONS
from services.uploads.models import Fact, FeedPosition, IdempotencyKey, Resumable, Upload, Usage
from shared.database.connection import connect
from shared.ids import new_id
from tests.helpers import assert_models_match_migrations

TABLES = (Fact, FeedPosition, IdempotencyKey, Resumable, Upload, Usage)


def test_models_and_migrations_agree(empty_database_url: str) -> None:
    database = connect(empty_database_url)
    assert_models_match_migrations(TABLES, database, MIGRATIONS)
    database.close()


def test_the_bytes_that_were_there_before_are_counted(empty_database_url: str) -> None:
    database = connect(empty_database_url)
    ann, bob = new_id(), new_id()
    with database.connection_context(), database.bind_ctx(TABLES):
        runner = Runner(database, str(MIGRATIONS))
        runner.up("0001_initial")
        for owner, size in ((ann, 3), (bob, 7), (ann, 2**40)):
            keep(owner, size)
        runner.up()
        assert {usage.user_id: usage.bytes for usage in Usage.select()} == {ann: 3 + 2**40, bob: 7}
    database.close()


def keep(owner: str, size: int) -> None:
    upload = Upload(user_id=owner, name=new_id(), filename="a.png", mime_type="image/png", size=size)
    upload.key, upload.sha256, upload.private = f"{owner}/{upload.name}", "", False
    upload.save(force_insert=True)


def test_the_migrations_can_be_taken_back(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/test.db")
    with database.connection_context():
        runner = Runner(database, str(MIGRATIONS))
        for _ in runner.up():
            runner.down()
        assert set(database.get_tables()) <= {"schema_migration", "sqlite_sequence"}
