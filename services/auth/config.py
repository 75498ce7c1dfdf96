"""The settings of the auth service."""

from dataclasses import dataclass

from shared.env import BaseConfig, database_url


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """What the auth service reads from the environment besides the settings that all services have."""

    database_url: str = database_url("AUTH_DATABASE_URL", "auth")
