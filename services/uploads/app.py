"""Uploads: receive images and PDFs, validate and sanitise them, store them and serve them."""

import logging
from collections.abc import Callable
from pathlib import Path

from flask import Flask, Response

from services.uploads.config import Config
from services.uploads.maintenance.garbage_collection import GarbageCollector
from services.uploads.maintenance.user_deletion import OwnerConsumer
from services.uploads.models import database, feed
from services.uploads.resources import files, tus, uploads
from services.uploads.signed_urls import Signer
from services.uploads.storage.base import Storage, StorageDown
from services.uploads.storage.local import LocalStorage
from services.uploads.storage.s3 import S3Storage
from services.uploads.storage.sigv4 import Credentials
from services.uploads.storage.tus_parts import TusParts
from services.uploads.storage.variant_cache import VariantCache
from services.uploads.upload_service import UploadService, ids_after
from shared.app import check_database, create_service, run_in_background
from shared.concurrency import Bulkhead
from shared.database import connection
from shared.identity.jwks import Jwks
from shared.problems import Problem
from shared.service import service_of
from shared.web import error_handlers
from shared.web.internal import table_blueprint

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
        [uploads.blp, tus.blp, files.blp],
        checks={"database": check_database(database), "storage": keeper.storage.check},
        feed=feed,
        fetch_keys=fetch_keys,
    )
    app.register_blueprint(table_blueprint("uploads", ids_after))
    service = service_of(app)
    service.add(keeper)
    service.add(Bulkhead(max(config.threads * 3 // 4, 1), patience=0, detail=TOO_MANY_DOWNLOADS))
    service.add(Signer(config.internal_token))
    app.register_error_handler(StorageDown, _storage_is_down)
    connection.init_app(app, database, config.database_url, MIGRATIONS)
    run_in_background(app, OwnerConsumer(config, keeper))
    run_in_background(app, GarbageCollector(keeper))
    return app


def open_keeper(config: Config) -> UploadService:
    """Return what keeps the uploads."""
    variants = VariantCache(config.data_dir / "variants", config.variants_size)
    return UploadService(open_storage(config), variants, TusParts(config.data_dir / "tus"), config.quota)


def open_storage(config: Config) -> Storage:
    """Return where the bytes are kept."""
    if config.bucket is None:
        return LocalStorage(config.storage_root)
    credentials = Credentials(config.s3_key_id or "", config.s3_secret or "", config.s3_region)
    return S3Storage(config.s3_endpoint, *config.bucket, credentials, config.data_dir / "drafts")


def _storage_is_down(error: StorageDown) -> Response:
    _logger.error("the storage does not work: %s", error)
    return error_handlers.respond(Problem("SERVICE_UNAVAILABLE", "The storage is not available."))
