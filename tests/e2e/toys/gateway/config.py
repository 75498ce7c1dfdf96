"""The settings of a toy."""

from shared.env import BaseConfig as Config

__all__ = ["Config"]
