"""Fill the database with demo users, none of whom is anybody."""

from collections.abc import Callable

from services.auth import accounts, passwords
from services.auth.app import MIGRATIONS
from services.auth.config import Config
from services.auth.models import User, database
from shared.database import connection

PASSWORD = "demo password"
NAMES = ("Writer", "Автор", "Συγγραφέας", "كاتب", "作者", "लेखक", "작가", "Scrittore")
BATCH = 200  # users of a transaction

Progress = Callable[[int, int], None]


def seed(config: Config, users: int, progress: Progress) -> list[User]:
    """Make as many demo users as are missing and return all; `progress` gets how many are there, and of how many."""
    database.initialize(connection.connect(config.database_url))
    connection.migrate(database.obj, MIGRATIONS)
    password_hash = passwords.hash_password(PASSWORD)
    seeded: list[User] = []
    with database.connection_context():
        for start in range(1, users + 1, BATCH):
            numbers = range(start, min(start + BATCH, users + 1))
            with database.atomic():
                seeded += _make_missing(numbers, password_hash)
            progress(numbers[-1], users)
    return seeded


def _make_missing(numbers: range, password_hash: str) -> list[User]:
    """Return the users of these numbers, in their order."""
    emails = [_email(number) for number in numbers]
    users = {user.email_folded: user for user in User.select().where(User.email_folded.in_(emails))}
    for email, number in zip(emails, numbers, strict=True):
        if email not in users:
            name = f"{NAMES[number % len(NAMES)]} {number}"
            users[email] = accounts.register(name, email, password_hash, verified=True)
    return [users[email] for email in emails]


def _email(number: int) -> str:
    return f"demo{number}@example.com"
