"""Auth: accounts, sessions and the only private key."""

from pathlib import Path

from flask import Flask

from services.auth import accounts, keyring, passwords, sessions, tokens
from services.auth.config import Config
from services.auth.mail import Mails
from services.auth.models import database, feed, outbox
from services.auth.pruning import prune
from services.auth.resources import admins, keys, links, me, own_sessions, signin, users
from shared import db
from shared.app import check_database, create_service, run_in_background
from shared.background import Repeated
from shared.internal import table_blueprint
from shared.mail import MailWorker
from shared.mail_transport import transport_of
from shared.workers.admission import Admission

MIGRATIONS = Path(__file__).parent / "migrations"
LINKS_PAUSE = 0.5  # seconds
PRUNING_PAUSE = 3600.0


def create_app(config: Config | None = None) -> Flask:
    """Return the service; on the very first start it makes the key that signs tokens."""
    config = config or Config.from_environment()
    signing = keyring.load_keys(config.data_dir)
    app = create_service(
        "auth",
        config,
        [signin.blp, links.blp, own_sessions.blp, me.blp, users.blp, admins.blp, keys.blp],
        checks={"database": check_database(database)},
        feed=feed,
        fetch_keys=signing.jwks,
    )
    app.register_blueprint(table_blueprint("users", accounts.profiles_after))
    app.extensions["postern.admission"] = Admission(app, passwords.hashing_places(config.threads))
    app.config["COUNT_FAILURES"] = config.ratelimit_enabled
    tokens.init_app(app, signing)
    db.init_app(app, database, config.database_url, MIGRATIONS)
    with database.connection_context():
        sessions.restore_revocations(app.extensions["postern.verifier"].revocations)
    app.extensions["postern.mails"] = mails = Mails(config.app_url or config.public_url)
    run_in_background(app, Repeated("links", LINKS_PAUSE, mails.answer_requests, database))
    run_in_background(app, MailWorker(outbox, transport_of(config), config.mail_from))
    run_in_background(app, Repeated("pruner", PRUNING_PAUSE, prune, database))
    return app
