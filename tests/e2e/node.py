"""Clients that others have written for Node.js, installed once where that is possible."""

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.stack import ROOT

FOLDER = ROOT / ".venv" / "node"


def node_modules(*packages: str) -> Path:
    """Return the folder with the packages `name@version`; skip the test where they cannot be installed."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    folder = FOLDER / "+".join(package.replace("/", "_") for package in packages)
    if not folder.is_dir():
        install(packages, folder)
    return folder / "node_modules"


def install(packages: tuple[str, ...], folder: Path) -> None:
    """Install all of the packages or nothing, whoever else does so at the same time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, ignore_cleanup_errors=True) as new:
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", new, *packages]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=180)
        except subprocess.SubprocessError:
            pytest.skip(f"{', '.join(packages)} cannot be installed from here")
        with suppress(OSError):  # somebody was faster
            Path(new).rename(folder)
