"""A toy service with one noun, on which the kit is tested."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from shared.app import check_database, create_service
from shared.database import connection
from shared.identity.jwks import Jwks
from shared.settings import ServiceConfig
from tests.shared.toys import models, resources

MIGRATIONS = Path(__file__).parent / "migrations"
MAX_BODY = 4096


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig, service="toys", port=8099):
    pass


def create_app(config: Config, fetch_keys: Callable[[], Jwks]) -> Flask:
    app = create_service(
        "toys",
        config,
        [resources.blp, resources.odd],
        checks={"database": check_database(models.database)},
        feed=models.feed,
        fetch_keys=fetch_keys,
    )
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    connection.init_app(app, models.database, config.database_url, MIGRATIONS)
    return app
