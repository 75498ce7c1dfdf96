"""The settings of the posts service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared import env
from shared.env import BaseConfig, database_url, setting


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """What the posts service reads from the environment besides the settings that all services have."""

    port: int = setting("POSTS_PORT", env.port, "8002", "Port of the posts service")
    ratelimit_enabled: bool = setting(
        "RATELIMIT_ENABLED", env.boolean, "true", "Whether requests are counted; always in production"
    )
    database_url: str = database_url("POSTS_DATABASE_URL", "posts")
    uploads_port: int = setting("UPLOADS_PORT", env.port, "8003", "Port of the uploads service")
    uploads_url: str = setting(
        "UPLOADS_URL",
        env.url("http", "https"),
        lambda known: f"http://127.0.0.1:{known.get('uploads_port', 8003)}",
        "Where posts hears which uploads were deleted",
    )

    @classmethod
    def contradictions(cls, known: Mapping[str, Any]) -> list[str]:
        mistakes = super().contradictions(known)
        if known.get("app_env") == "production" and known.get("ratelimit_enabled") is False:
            mistakes.append("RATELIMIT_ENABLED cannot be false in production")
        return mistakes
