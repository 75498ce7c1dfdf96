from playhouse.migrations import Runner

from services.auth import MIGRATIONS
from services.auth.models import User
from shared import db


def test_migrations_can_be_undone_and_done_again(empty_database_url: str) -> None:
    connection = db.connect(empty_database_url)
    with connection.connection_context():
        runner = Runner(connection, str(MIGRATIONS))
        assert runner.up() == runner.down(runner.migrations()[0].name)[::-1]
        assert connection.get_tables() == ["schema_migration"]
        assert runner.up()


def test_accounts_from_before_can_be_searched_by_name(empty_database_url: str) -> None:
    connection = db.connect(empty_database_url)
    with connection.connection_context(), connection.bind_ctx([User]):
        runner = Runner(connection, str(MIGRATIONS))
        runner.up("0001_initial")
        row = ("0197a1c2-0000-7000-8000-000000000000", "Ａnn Ünlü", "a@b.example", "a@b.example", "!", "user", "active")
        placeholders = ", ".join(["%s" if db.is_postgres(connection) else "?"] * 7)
        connection.execute_sql(
            'INSERT INTO "user" (id, name, email, email_folded, password_hash, role, status, email_verified, version,'
            f" created_at) VALUES ({placeholders}, false, 1, '2030-01-02T03:04:05.000000Z')",
            row,
        )
        runner.up()
        assert User.select(User.name_folded).scalar() == "ann ünlü"
