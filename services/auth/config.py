"""The settings of the auth service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.env import BaseConfig, boolean, database_url, setting


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """What the auth service reads from the environment besides the settings that all services have."""

    database_url: str = database_url("AUTH_DATABASE_URL", "auth")
    ratelimit_enabled: bool = setting(
        "RATELIMIT_ENABLED", boolean, "true", "Whether failed logins are counted; always in production"
    )

    @classmethod
    def contradictions(cls, known: Mapping[str, Any]) -> list[str]:
        mistakes = super().contradictions(known)
        if known.get("app_env") == "production" and known.get("ratelimit_enabled") is False:
            mistakes.append("RATELIMIT_ENABLED cannot be false in production")
        return mistakes
