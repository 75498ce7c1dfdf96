"""The settings of a toy."""

from dataclasses import dataclass

from shared import settings
from shared.settings import BaseConfig, setting


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """Where the toy listens."""

    alpha_port: int = setting("ALPHA_PORT", settings.port, "1", "Port of the toy")
