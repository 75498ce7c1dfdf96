"""The messages service: contact messages, notifications and live events."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask

from services.messages.config import Config
from services.messages.feed_consumers import consumers
from services.messages.live_events import event_log
from services.messages.live_events.socket_handover import hand_over_streams
from services.messages.live_events.sse_server import SseServer
from services.messages.models import database, outbox
from services.messages.resources import contact, events, notifications
from shared.app import check_database, create_service, run_in_background
from shared.database import connection
from shared.database.database_task import DatabaseTask
from shared.identity.access_tokens import Verifier
from shared.identity.jwks import Jwks
from shared.mail.outbox import MailWorker
from shared.mail.smtp import transport_of
from shared.service import service_of

MIGRATIONS = Path(__file__).parent / "migrations"
PRUNING_PAUSE = 3600.0  # seconds


def create_app(config: Config | None = None, fetch_keys: Callable[[], Jwks] | None = None) -> Flask:
    """Return the service; `fetch_keys` returns the public keys, the default fetches them from auth."""
    config = config or Config.from_environment()
    app = create_service(
        "messages",
        config,
        [contact.blp, notifications.blp, events.blp],
        checks={"database": check_database(database)},
        fetch_keys=fetch_keys,
    )
    connection.init_app(app, database, config.database_url, MIGRATIONS)
    run_in_background(app, MailWorker(outbox, transport_of(config), config.mail_from))
    for consumer in consumers(config):
        run_in_background(app, consumer)
    run_in_background(app, DatabaseTask("events", PRUNING_PAUSE, event_log.prune, database))
    streams = SseServer(service_of(app).get(Verifier).revocations)
    event_log.on_commit = streams.wake
    service_of(app).add(streams)
    service_of(app).on_stop.append(streams.stop)
    run_in_background(app, streams)
    app.wsgi_app = hand_over_streams(app.wsgi_app, streams)  # type: ignore[method-assign, assignment]
    return app
