"""Posts: what users write, and what others say to it."""

from collections.abc import Callable
from pathlib import Path

from flask import Flask

from services.posts import categories as categorising
from services.posts import feed_consumers
from services.posts.config import Config
from services.posts.models import database, feed
from services.posts.resources import categories, comments, internal, likes, posts, tags, user_posts
from services.posts.view_counts import ViewCounter
from shared.app import check_database, create_service, run_in_background
from shared.database import connection
from shared.database.database_task import DatabaseTask
from shared.identity.jwks import Jwks
from shared.service import service_of

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(config: Config | None = None, fetch_keys: Callable[[], Jwks] | None = None) -> Flask:
    """Return the service; `fetch_keys` gives the public keys, which are else asked of auth."""
    config = config or Config.from_environment()
    app = create_service(
        "posts",
        config,
        [posts.blp, user_posts.blp, likes.blp, comments.blp, tags.blp, categories.blp, internal.blp],
        checks={"database": check_database(database)},
        feed=feed,
        fetch_keys=fetch_keys,
    )
    connection.init_app(app, database, config.database_url, MIGRATIONS)
    views = service_of(app).add(ViewCounter(config.internal_token))
    run_in_background(app, views)
    purge = categorising.purge_deleted
    run_in_background(app, DatabaseTask("forgetting of categories", categorising.CLEANUP_INTERVAL, purge, database))
    run_in_background(app, feed_consumers.AuthorConsumer(config))
    run_in_background(app, feed_consumers.CoverConsumer(config))
    return app
