"""The settings of the posts service."""

from dataclasses import dataclass

from shared import env
from shared.env import BaseConfig, database_url, setting


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """What the posts service reads from the environment besides the settings that all services have."""

    port: int = setting("POSTS_PORT", env.port, "8002", "Port of the posts service")
    database_url: str = database_url("POSTS_DATABASE_URL", "posts")
