from playhouse.migrations import Runner

from services.auth.app import MIGRATIONS
from services.auth.models import AuditEvent, MailToken, User
from shared import clock
from shared.database import connection as db
from shared.ids import new_id


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


def test_accounts_from_before_that_share_a_mailbox_are_told_apart(empty_database_url: str) -> None:
    accounts = [
        ("n@bücher.example", False),
        ("N@xn--bcher-kva.example", True),
        ("ß@straße.example", False),
        ("ß@XN--STRAE-OQA.example", False),
        ("plain@example.org", False),
        ("ö@example.org", False),
        ("soft@exam\u00adple.org", True),
        ("soft@example.org", False),
    ]
    connection = db.connect(empty_database_url)
    with connection.connection_context(), connection.bind_ctx([User, MailToken, AuditEvent]):
        runner = Runner(connection, str(MIGRATIONS))
        runner.up("0003_accounts")
        users = [insert_account(email, verified=verified) for email, verified in accounts]
        for user_id, (email, _) in zip(users, accounts, strict=True):
            folded = email.lower()
            MailToken.insert(
                hash=email.encode(), user=user_id, purpose="reset", email_folded=folded, expires_at=clock.now()
            ).execute()
        runner.up()
        kept = {user.id: user.email_folded for user in User.select(User.id, User.email_folded)}
        assert [kept[user_id] for user_id in users] == [
            f"TAKEN:{users[0]}",
            "n@xn--bcher-kva.example",
            "ß@xn--strae-oqa.example",
            f"TAKEN:{users[3]}",
            "plain@example.org",
            "ö@example.org",
            "soft@example.org",
            f"TAKEN:{users[7]}",
        ]
        assert {token.user_id: token.email_folded for token in MailToken.select()} == kept
        events = AuditEvent.select(AuditEvent.user_id, AuditEvent.detail)
        assert sorted((event.user_id, event.detail) for event in events) == sorted(
            [
                (users[0], f'{{"keptBy":"{users[1]}"}}'),
                (users[3], f'{{"keptBy":"{users[2]}"}}'),
                (users[7], f'{{"keptBy":"{users[6]}"}}'),
            ]
        )
        runner.down("0004_domains")
        before = {user.id: user.email_folded for user in User.select(User.id, User.email_folded)}
        assert [before[user_id] for user_id in users] == [email.lower() for email, _ in accounts]


def insert_account(email: str, *, verified: bool) -> str:
    """Insert an account as it was before migration 0004 and return its id."""
    user_id = new_id()
    User.insert(
        id=user_id, name="Ann", email=email, email_folded=email.lower(), password_hash="!", email_verified=verified
    ).execute()
    return user_id
