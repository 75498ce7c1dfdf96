"""Find the services of a package and load their settings, without the frameworks that they import."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType

from services.errors import StartError
from shared.env import BaseConfig, SettingsError


def folder_of(package: str) -> Path:
    path: str = import_module(package).__path__[0]
    return Path(path)


def known_services(package: str) -> list[str]:
    """Return the names of the packages that have settings."""
    return sorted(path.parent.name for path in folder_of(package).glob("*/config.py"))


def load_configs(package: str, names: Sequence[str]) -> dict[str, BaseConfig]:
    """Return the settings of the services from the environment; raise StartError with all mistakes at once."""
    configs = {}
    mistakes: dict[str, None] = {}  # one that several services see is told once
    for name in names:
        try:
            with _bare_package(package, name) as bare:
                configs[name] = import_module(f"{bare}.config").Config.load(os.environ)
        except SettingsError as error:
            mistakes |= dict.fromkeys(error.mistakes)
    if mistakes:
        told = "\n".join(f"  {mistake}" for mistake in mistakes)
        advice = "Correct them in .env or in the environment; .env.example explains each."
        raise StartError(f"Some settings are wrong:\n{told}\n{advice}")
    return configs


@contextmanager
def _bare_package(package: str, name: str) -> Iterator[str]:
    """Stand in for the service's package, whose `__init__` would import a web framework before gevent patches."""
    full = f"{package}.{name}"
    bare = ModuleType(full)
    bare.__path__ = [str(folder_of(package) / name)]
    sys.modules[full] = bare
    try:
        yield full
    finally:
        for key in [key for key in sys.modules if f"{key}.".startswith(f"{full}.")]:
            del sys.modules[key]
