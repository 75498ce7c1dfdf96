"""Auth: accounts, sessions and the only private key."""

from pathlib import Path

from flask import Flask

from services.auth import tokens
from services.auth.config import Config
from services.auth.models import database, feed
from services.auth.resources import admins, keys, me, own_sessions, signin, users
from shared import db
from shared.app import check_database, create_service

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(config: Config | None = None) -> Flask:
    """Return the service; on the very first start it makes the key that signs tokens."""
    config = config or Config.from_environment()
    signing = tokens.load_keys(config.data_dir)
    app = create_service(
        "auth",
        config,
        [signin.blp, own_sessions.blp, me.blp, users.blp, admins.blp, keys.blp],
        checks={"database": check_database(database)},
        feed=feed,
        fetch_keys=signing.jwks,
    )
    app.config["COUNT_FAILURES"] = config.ratelimit_enabled
    tokens.init_app(app, signing)
    db.init_app(app, database, config.database_url, MIGRATIONS)
    return app
