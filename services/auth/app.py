"""Auth: accounts, sessions, and the private keys that sign access tokens."""

from pathlib import Path

from flask import Flask

from services.auth import access_tokens, accounts, passwords, sessions, signing_keys
from services.auth.account_mail import AccountMailer
from services.auth.config import Config
from services.auth.models import database, feed, outbox
from services.auth.resources import admin, email_tokens, jwks, me, signin, users
from services.auth.resources import sessions as own_sessions
from services.auth.retention import prune
from shared.app import check_database, create_service, run_in_background
from shared.database import connection
from shared.database.database_task import DatabaseTask
from shared.identity.access_tokens import Verifier
from shared.mail.outbox import MailWorker
from shared.mail.smtp import transport_of
from shared.server.admission import Admission
from shared.service import service_of
from shared.web.internal import table_blueprint

MIGRATIONS = Path(__file__).parent / "migrations"
LINKS_PAUSE = 0.5  # seconds
PRUNING_PAUSE = 3600.0


def create_app(config: Config | None = None) -> Flask:
    """Create the auth app; the first start creates the signing key."""
    config = config or Config.from_environment()
    signing = signing_keys.load_keys(config.data_dir)
    app = create_service(
        "auth",
        config,
        [signin.blp, email_tokens.blp, own_sessions.blp, me.blp, users.blp, admin.blp, jwks.blp],
        checks={"database": check_database(database)},
        feed=feed,
        fetch_keys=signing.jwks,
    )
    app.register_blueprint(table_blueprint("users", accounts.profiles_after))
    service_of(app).admission = Admission(app, passwords.hashing_places(config.threads))
    app.config["COUNT_FAILURES"] = config.ratelimit_enabled
    access_tokens.init_app(app, signing)
    connection.init_app(app, database, config.database_url, MIGRATIONS)
    with database.connection_context():
        sessions.restore_revocations(service_of(app).get(Verifier).revocations)
    mails = service_of(app).add(AccountMailer(config.app_url or config.public_url))
    run_in_background(app, DatabaseTask("links", LINKS_PAUSE, mails.answer_requests, database))
    run_in_background(app, MailWorker(outbox, transport_of(config), config.mail_from))
    run_in_background(app, DatabaseTask("pruner", PRUNING_PAUSE, prune, database))
    return app
