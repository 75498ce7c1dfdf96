"""The settings of a toy."""

from shared.settings import BaseConfig as Config

__all__ = ["Config"]
