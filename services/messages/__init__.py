"""Messages: what reaches the owner and the users of an installation: contact messages, notifications, live events."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask

from services.messages.config import Config
from services.messages.following import readers
from services.messages.models import database, outbox
from services.messages.resources import contact, notifications
from shared import db
from shared.app import check_database, create_service, run_in_background
from shared.mail import MailWorker
from shared.mail_transport import transport_of
from shared.tokens import Jwks

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(config: Config | None = None, fetch_keys: Callable[[], Jwks] | None = None) -> Flask:
    """Return the service; `fetch_keys` gives the public keys, which are else asked of auth."""
    config = config or Config.from_environment()
    app = create_service(
        "messages",
        config,
        [contact.blp, notifications.blp],
        checks={"database": check_database(database)},
        fetch_keys=fetch_keys,
    )
    db.init_app(app, database, config.database_url, MIGRATIONS)
    run_in_background(app, MailWorker(outbox, transport_of(config), config.mail_from))
    for reader in readers(config):
        run_in_background(app, reader)
    return app
