"""Uploads: images and PDFs, taken in, made harmless and given out."""

import logging
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response

from services.uploads.config import Config
from services.uploads.disk import LocalStorage
from services.uploads.keeping import Keeper, ids_after
from services.uploads.models import database, feed
from services.uploads.owners import OwnerReader
from services.uploads.partials import Partials
from services.uploads.resources import files, resumable, uploads
from services.uploads.s3 import S3Storage
from services.uploads.signing import Signer
from services.uploads.sigv4 import Credentials
from services.uploads.storage import Storage, StorageDown
from services.uploads.sweeping import Sweeper
from services.uploads.variants import VariantCache
from shared import db, errors
from shared.app import check_database, create_service, run_in_background
from shared.concurrency import Bulkhead
from shared.internal import table_blueprint
from shared.problems import Problem
from shared.tokens import Jwks

TOO_MANY_DOWNLOADS = "Too many long downloads are under way."
MIGRATIONS = Path(__file__).parent / "migrations"
_logger = logging.getLogger("postern.uploads")


def create_app(config: Config | None = None, fetch_keys: Callable[[], Jwks] | None = None) -> Flask:
    """Return the service; `fetch_keys` gives the public keys, which are else asked of auth."""
    config = config or Config.from_environment()
    keeper = open_keeper(config)
    app = create_service(
        "uploads",
        config,
        [uploads.blp, resumable.blp, files.blp],
        checks={"database": check_database(database), "storage": keeper.storage.check},
        feed=feed,
        fetch_keys=fetch_keys,
    )
    app.register_blueprint(table_blueprint("uploads", ids_after))
    app.extensions |= {
        "postern.keeper": keeper,
        "postern.downloads": Bulkhead(max(config.threads * 3 // 4, 1), patience=0, detail=TOO_MANY_DOWNLOADS),
        "postern.signer": Signer(config.internal_token),
    }
    app.register_error_handler(StorageDown, _storage_is_down)
    db.init_app(app, database, config.database_url, MIGRATIONS)
    run_in_background(app, OwnerReader(config, keeper))
    run_in_background(app, Sweeper(keeper))
    return app


def open_keeper(config: Config) -> Keeper:
    """Return what keeps the uploads."""
    variants = VariantCache(config.data_dir / "variants", config.variants_size)
    return Keeper(open_storage(config), variants, Partials(config.data_dir / "tus"), config.quota)


def open_storage(config: Config) -> Storage:
    """Return where the bytes are kept."""
    if config.bucket is None:
        return LocalStorage(config.storage_root)
    credentials = Credentials(config.s3_key_id or "", config.s3_secret or "", config.s3_region)
    return S3Storage(config.s3_endpoint, *config.bucket, credentials, config.data_dir / "drafts")


def _storage_is_down(error: StorageDown) -> Response:
    _logger.error("the storage does not work: %s", error)
    return errors.respond(Problem("SERVICE_UNAVAILABLE", "The storage is not available."))
