from playhouse.migrations import Runner

from services.auth.app import MIGRATIONS
from shared.database import connection as db


def test_migrations_can_be_undone_and_done_again(empty_database_url: str) -> None:
    connection = db.connect(empty_database_url)
    with connection.connection_context():
        runner = Runner(connection, str(MIGRATIONS))
        assert runner.up() == runner.down(runner.migrations()[0].name)[::-1]
        assert connection.get_tables() == ["schema_migration"]
        assert runner.up()
