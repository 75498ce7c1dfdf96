"""Authorization of uploads: who may read and change one. Views find rows and bytes through here."""

from typing import cast

from flask import request

from services.uploads.models import Query, Upload, Usage
from services.uploads.signed_urls import SignedLink, Signer
from services.uploads.upload_service import UploadService
from shared.client_address import client_address, limiter_key
from shared.database.connection import get_or_404
from shared.ids import id_or_404
from shared.problems import Problem
from shared.service import current_service
from shared.web.auth import current_user


def current_keeper() -> UploadService:
    return current_service().get(UploadService)


def current_client() -> str:
    """Return who takes turns with others: the user, else the client's address."""
    caller = current_user()
    return caller.user_id if caller else limiter_key(client_address(request.environ))


def by_id(upload_id: str) -> Query:
    """Select the upload of an id; raise NOT_FOUND for what is none."""
    return Upload.select().where(Upload.id == id_or_404(upload_id))


def visible(query: Query, link: SignedLink | None = None) -> Upload:
    """Return the one upload; raise NOT_FOUND where there is none that the caller may see.

    With a signed link anybody may see what it was made for. Any other link raises LINK_EXPIRED, whether there is an
    upload or not, so that it tells nothing about private ones.
    """
    if link:
        found: Upload | None = query.clone().first()
        current_service().get(Signer).check(link, found.id if found else "")
        return cast(Upload, found)
    upload: Upload = get_or_404(query)
    if upload.private and not _may_change(upload):
        raise Problem("NOT_FOUND")
    return upload


def own(query: Query) -> Upload:
    """Return the one upload if the caller may change it; raise NOT_FOUND, or FORBIDDEN where it may be seen."""
    upload = visible(query)
    if not _may_change(upload):
        raise Problem("FORBIDDEN", "This is somebody else's upload.")
    return upload


def locked(query: Query) -> Upload:
    """Return the one upload that the caller may change, which nobody else changes until the transaction ends."""
    Usage.lock(own(query).user_id)
    return own(query)


def _may_change(upload: Upload) -> bool:
    caller = current_user()
    return caller is not None and (caller.user_id == upload.user_id or caller.has_role("admin"))
