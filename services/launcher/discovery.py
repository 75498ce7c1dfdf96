"""Find the services of a package, and load their settings."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from shared.settings import BaseConfig, SettingsError
from shared.start_error import StartError


def folder_of(package: str) -> Path:
    path: str = import_module(package).__path__[0]
    return Path(path)


def known_services(package: str) -> list[str]:
    """Return the names of the services: the packages with a `config.py`."""
    return sorted(path.parent.name for path in folder_of(package).glob("*/config.py"))


def load_configs(package: str, names: Sequence[str]) -> dict[str, BaseConfig]:
    """Return the settings of the services from the environment; raise StartError that lists all mistakes."""
    configs = {}
    mistakes: dict[str, None] = {}  # in order, each once
    for name in names:
        try:
            configs[name] = import_module(f"{package}.{name}.config").Config.load(os.environ)
        except SettingsError as error:
            mistakes |= dict.fromkeys(error.mistakes)
    if mistakes:
        told = "\n".join(f"  {mistake}" for mistake in mistakes)
        advice = "Correct them in .env or in the environment; .env.example explains each."
        raise StartError(f"Some settings are wrong:\n{told}\n{advice}")
    return configs
