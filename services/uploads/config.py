"""The settings of the uploads service."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared import env
from shared.env import BaseConfig, database_url, service_port, setting


def _under_data_dir(known: dict[str, Any]) -> str:
    if "data_dir" not in known:
        raise ValueError("cannot follow DATA_DIR, which is wrong")
    return f"file://{known['data_dir']}/uploads"


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """What the uploads service reads from the environment besides the settings that all services have."""

    uploads_port: int = service_port("uploads", 8003)
    threads: int = setting(
        "UPLOADS_THREADS",
        env.integer(1, 512),
        "32",
        "Requests at the same time: each slow upload or download takes one",
    )
    database_url: str = database_url("UPLOADS_DATABASE_URL", "uploads")
    storage_url: str = setting(
        "STORAGE_URL", env.url("file"), _under_data_dir, "Where the bytes are kept: file:///folder"
    )
    quota: int = setting(
        "UPLOAD_QUOTA", env.integer(0, 2**60), str(1024**3), "Bytes that the uploads of one user may have together"
    )

    variants_size: int = setting(
        "VARIANTS_SIZE", env.integer(0, 2**60), str(512 * 1024**2), "Bytes of resized images that are kept at most"
    )

    @property
    def storage_root(self) -> Path:
        """Return the folder that the address names, written as it is: nothing in it is percent-encoded."""
        return Path(self.storage_url.removeprefix("file://"))
