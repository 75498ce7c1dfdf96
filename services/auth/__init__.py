"""Auth: accounts, sessions and the only private key."""

from pathlib import Path

from flask import Flask

from services.auth import keyring, passwords, sessions, tokens
from services.auth.config import Config
from services.auth.models import database, feed
from services.auth.resources import keys, me, signin, users
from shared import db
from shared.app import check_database, create_service

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(config: Config | None = None) -> Flask:
    """Return the service; on the very first start it makes the key that signs tokens."""
    config = config or Config.from_environment()
    signing = keyring.load_keys(config.data_dir)
    app = create_service(
        "auth",
        config,
        [signin.blp, me.blp, users.blp, keys.blp],
        checks={"database": check_database(database)},
        feed=feed,
        fetch_keys=signing.jwks,
    )
    tokens.init_app(app, signing)
    db.init_app(app, database, config.database_url, MIGRATIONS)
    passwords.nobodys_hash()
    with database.connection_context():
        sessions.restore_revocations(app.extensions["postern.verifier"].revocations)
    return app
