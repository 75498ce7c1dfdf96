"""Commands: `make admin EMAIL=…` grants the role admin, `make rotate-keys` creates the next signing key."""

import secrets
import sys

import marshmallow as ma
import peewee

from services.auth import account_admin, accounts, passwords
from services.auth.app import MIGRATIONS
from services.auth.config import Config
from services.auth.models import ACTIVE, User, database
from services.auth.signing_keys import KEPT_FOR, PUBLISHED_FOR, add_key
from shared import clock
from shared.database import connection
from shared.mail.addresses import Email
from shared.settings import SettingsError

USAGE = "Say whom: make admin EMAIL=ann@example.org"
WRONG = 2  # exit code for wrong settings or arguments
NAME = "Admin"


def admin(arguments: list[str]) -> int:
    """Parse the command line, run `make_admin` and print the result; return the exit code."""
    try:
        email = _email(arguments)
        config = Config.from_environment()
        database.initialize(connection.connect(config.database_url))
        connection.migrate(database.obj, MIGRATIONS)
        with database.connection_context():
            sys.stdout.write(make_admin(email, verify=config.needs_verification) + "\n")
    except SettingsError as error:
        return _fail(str(error))
    except (peewee.OperationalError, OSError) as error:
        return _fail(f"The database of auth cannot be used ({error}): check AUTH_DATABASE_URL.")
    return 0


def rotate_keys(_arguments: list[str]) -> int:
    """Create the next signing key and print the schedule of the rotation; return the exit code."""
    try:
        path = add_key(Config.from_environment().data_dir)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return WRONG
    sys.stdout.write(
        f"{path} is public within a second and signs in {PUBLISHED_FOR:.0f} seconds."
        f" Older keys are removed {KEPT_FOR / 60:.0f} minutes after that.\n"
    )
    return 0


def make_admin(email: str, *, verify: bool) -> str:
    """Grant an account the role admin, or create one with a random password; return the message for the operator.

    `verify` marks the address as verified, for installations where only verified addresses can sign in.
    """
    user = User.by_email(email)
    return _promote(user, verify=verify) if user else _create(email)


def _promote(user: User, *, verify: bool) -> str:
    is_admin = (user.role, user.status) == ("admin", ACTIVE)
    if is_admin and (user.email_verified or not verify):
        return f"{user.email} is an admin already."
    with database.atomic():
        account_admin.change(user.id, {"role": "admin", "status": ACTIVE}, clock.now(), lambda _user: None)
        if verify:
            accounts.verify_email(user.id, user.email_folded)
    told = f"{user.email} is an admin now, from the next sign-in or refresh on."
    if not user.email_verified:
        verified = "is verified by your word" if verify else "was never verified"
        told += f"\nThe address {verified}: make sure that the account is theirs."
    return told


def _create(email: str) -> str:
    password = secrets.token_urlsafe(15)
    password_hash = passwords.hash_password(password)
    with database.atomic():
        user = account_admin.create(NAME, email, password_hash, "admin")
        User.update(email_verified=True).where(User.id == user.id).execute()
    return f"There was no account for {email}, so one was made. Sign in with the password {password} and change it."


def _email(arguments: list[str]) -> str:
    if len(arguments) != 1 or not arguments[0]:
        raise SettingsError([USAGE])
    try:
        email: str = Email().deserialize(arguments[0])
    except ma.ValidationError as error:
        raise SettingsError([f"{arguments[0]} is no email address. {USAGE}"]) from error
    return email


def _fail(message: str) -> int:
    sys.stderr.write(message + "\n")
    return WRONG
