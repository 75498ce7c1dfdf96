"""The settings of the posts service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import settings
from shared.settings import (
    BaseConfig,
    database_url,
    service_port,
    service_threads,
    service_url,
    service_workers,
    setting,
)


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """What the posts service reads from the environment besides the settings that all services have."""

    posts_port: int = service_port("posts", 8002)
    workers: int = service_workers("posts")
    threads: int = service_threads("posts")
    ratelimit_enabled: bool = setting(
        "RATELIMIT_ENABLED", settings.boolean, "true", "Whether requests are counted; always in production"
    )
    database_url: str = database_url("POSTS_DATABASE_URL", "posts")
    uploads_port: int = service_port("uploads", 8003)
    uploads_url: str = service_url("uploads", 8003)

    @classmethod
    def contradictions(cls, known: Mapping[str, Any]) -> list[str]:
        mistakes = super().contradictions(known)
        if known.get("app_env") == "production" and known.get("ratelimit_enabled") is False:
            mistakes.append("RATELIMIT_ENABLED cannot be false in production")
        return mistakes
