"""The settings of the uploads service."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import settings
from shared.settings import ServiceConfig, setting

_s3 = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[\w-][\w.-]*)*)", re.ASCII).fullmatch
_endpoint = re.compile(r"https?://[\w.:\[\]-]+(?:/[\w-][\w.~-]*)*", re.ASCII).fullmatch
_visible = re.compile(r"[!-~]+").fullmatch


def _under_data_dir(known: dict[str, Any]) -> str:
    if "data_dir" not in known:
        raise ValueError("cannot follow DATA_DIR, which is wrong")
    return f"file://{known['data_dir']}/uploads"


def _storage_url(value: str) -> str:
    address = settings.url("file", "s3")(value)
    if address.startswith("s3:") and not _s3(address):
        raise ValueError("must be like s3://bucket/prefix, without anything that needs percent-encoding")
    return address


def _endpoint_url(value: str) -> str:
    address = settings.url("http", "https")(value)
    if not _endpoint(address):
        raise ValueError("must be an address without user, query and anything that needs percent-encoding")
    return address


def _word(value: str) -> str:
    if not _visible(value) or {",", "/", "="} & set(value):
        raise ValueError("must be visible ASCII without spaces, commas, slashes and equals signs")
    return value


def _secret(value: str) -> str:
    if not _visible(value):
        raise ValueError("must be visible ASCII without spaces")
    return value


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig, service="uploads", port=8003, threads=32):  # each slow download takes one
    """What the uploads service reads from the environment besides the settings that all services have."""

    storage_url: str = setting(
        "STORAGE_URL", _storage_url, _under_data_dir, "Where the bytes are kept: file:///folder or s3://bucket/prefix"
    )
    s3_region: str = setting("AWS_REGION", _word, "us-east-1", "Region of the bucket, as its store calls it")
    s3_endpoint: str = setting(
        "AWS_ENDPOINT_URL",
        _endpoint_url,
        lambda known: f"https://s3.{known.get('s3_region', 'us-east-1')}.amazonaws.com",
        "Address of the S3 store; Amazon's by default",
    )
    s3_key_id: str | None = setting("AWS_ACCESS_KEY_ID", settings.optional(_word), "", "Access key of the S3 store")
    s3_secret: str | None = setting("AWS_SECRET_ACCESS_KEY", settings.optional(_secret), "", "The secret of that key")
    quota: int = setting(
        "UPLOAD_QUOTA", settings.integer(0, 2**60), str(1024**3), "Bytes that the uploads of one user may have together"
    )
    variants_size: int = setting(
        "VARIANTS_SIZE", settings.integer(0, 2**60), str(512 * 1024**2), "Bytes of resized images that are kept at most"
    )

    @classmethod
    def contradictions(cls, known: Mapping[str, Any]) -> list[str]:
        mistakes = super().contradictions(known)
        if str(known.get("storage_url")).startswith("s3:"):
            needed = {"s3_key_id": "AWS_ACCESS_KEY_ID", "s3_secret": "AWS_SECRET_ACCESS_KEY"}
            mistakes += [
                f"{name} must be set, since STORAGE_URL names a bucket"
                for field, name in needed.items()
                if field in known and not known[field]
            ]
        return mistakes

    @property
    def bucket(self) -> tuple[str, str] | None:
        """Return the bucket and the prefix that the address names, None for a folder."""
        match = _s3(self.storage_url)
        return (match[1], match[2].strip("/")) if match else None

    @property
    def storage_root(self) -> Path:
        """Return the folder that the address names, written as it is: nothing in it is percent-encoded."""
        return Path(self.storage_url.removeprefix("file://"))
