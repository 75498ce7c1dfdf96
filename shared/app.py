"""Build the Flask application of a service with everything that all services share."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from flask import Flask, request
from flask_cors import CORS

from shared.feed.consumer import FeedConsumer, Wakeup
from shared.feed.revocation_consumer import RevocationConsumer
from shared.feed.service_client import InternalClient
from shared.feed.wakeup_file import FileWakeup
from shared.identity.access_tokens import Verifier
from shared.identity.csrf import Csrf
from shared.identity.jwks import JWKS_PATH, Jwks, KeySet
from shared.server.lifecycle import KEY
from shared.service import Service, service_of
from shared.settings import BaseConfig
from shared.telemetry import json_log
from shared.telemetry.metrics_server import OFFSET, MetricsServer
from shared.telemetry.request_id import with_request_id
from shared.web import blueprint, error_handlers, health, html_forms, openapi

if TYPE_CHECKING:  # the gateway has no database: to load what speaks to one would take a quarter of its memory
    from shared.database.connection import Database
    from shared.feed.outbox import Feed

MAX_JSON = 1024 * 1024  # bytes of a JSON body
MAX_FORM_FIELDS = 100


def create_service(
    name: str,
    config: BaseConfig,
    blueprints: Sequence[blueprint.Blueprint],
    *,
    checks: Mapping[str, health.Check] | None = None,
    feed: "Feed | None" = None,
    fetch_keys: Callable[[], Jwks] | None = None,
    own_cors: bool = True,
) -> Flask:
    """Return an app with error handlers, log, health, token verification, OpenAPI, feed and these blueprints.

    `checks` are those of `/readyz`. `fetch_keys` returns the public keys; the default fetches them from auth.
    `own_cors` allows CORS on the service's own port in development. Feed consumers and other threads start after the
    fork, by `run_in_background`.
    """
    json_log.configure(name, config.log_level)
    app = Flask(f"services.{name}", static_folder=None)
    app.config |= {
        "INTERNAL_TOKEN": config.internal_token,
        "MAX_CONTENT_LENGTH": MAX_JSON,
        "MAX_FORM_MEMORY_SIZE": MAX_JSON,
        "MAX_FORM_PARTS": MAX_FORM_FIELDS,
        "TESTING": config.app_env == "test",
        "PROPAGATE_EXCEPTIONS": False,
    }
    app.extensions[KEY] = service = Service(config.public_url)
    service.add(config)
    app.ensure_sync = _skip_async_check  # type: ignore[method-assign, assignment]
    app.wsgi_app = with_request_id(app.wsgi_app)  # type: ignore[method-assign, assignment]
    if own_cors and config.app_env == "development":  # through the gateway, which has its own rules, these are dropped
        CORS(app, origins=list(config.cors_origins), supports_credentials=True, always_send=False)
    error_handlers.init_app(app)
    html_forms.init_app(app)
    app.before_request(_set_route_pattern)
    keys = InternalClient(config.auth_url)
    key_set = KeySet(fetch_keys or (lambda: keys.get_json(JWKS_PATH)))
    verifier = service.add(Verifier(key_set, seconds_ahead=lambda: keys.seconds_ahead))
    service.add(Csrf(config.internal_token, config.public_url, config.cors_origins))
    consumer = service.add(RevocationConsumer(config.auth_url, config.internal_token, verifier.revocations))
    service.wakeup = wakeup = _wakeup(config, name)
    run_in_background(app, wakeup)
    run_in_background(app, consumer)
    port = config.port_of(name)
    if port and config.app_env != "test":
        run_in_background(app, MetricsServer(port + OFFSET))
    blueprint.init_app(app, blueprints)
    service.document = describe = openapi.describing(app, f"Postern {name}", blueprints)
    app.register_blueprint(openapi.blueprint(describe))
    app.register_blueprint(health.blueprint(checks or {}))
    if feed:
        feed.on_commit = wakeup.notify
        app.register_blueprint(feed.blueprint())
        run_in_background(app, feed.pruning())
    return app


def _wakeup(config: BaseConfig, name: str) -> Wakeup:
    if not config.redis_url:
        return FileWakeup(config.data_dir / "news", name)
    # Imported only here: the library takes memory that few installations need to spend.
    from shared.feed.wakeup_redis import RedisWakeup

    return RedisWakeup(config.redis_url, name)


def _skip_async_check(view: Callable[..., Any]) -> Callable[..., Any]:
    """Skip Flask's check for async views: there are none, and the check costs 5 % of a request."""
    return view


def _set_route_pattern() -> None:
    if request.url_rule:
        request.environ["postern.route"] = request.url_rule.rule


class Background(Protocol):
    """A background task with its own threads."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def run_in_background(app: Flask, task: Background) -> None:
    """Start the task in each process after the fork, and make it available as `service_of(app).get(type)`."""
    service = service_of(app)
    service.add(task)
    leader = service.get(RevocationConsumer)
    if isinstance(task, FeedConsumer) and task is not leader and task.source == leader.source:
        leader.add_follower(task)
    elif isinstance(task, FeedConsumer):
        service.wakeup.subscribe(task)
    service.on_start.append(task.start)
    service.on_exit.append(task.stop)


def check_database(database: "Database") -> health.Check:
    """Return a health check that runs a query."""
    return lambda: database.execute_sql("SELECT 1").fetchone()
