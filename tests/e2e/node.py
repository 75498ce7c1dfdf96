"""Clients that others have written for Node.js, installed once where that is possible."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.stack import ROOT

FOLDER = ROOT / ".venv" / "node"


def node_modules(package: str) -> Path:
    """Return the folder with the package `name@version`; skip the test where it cannot be installed."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    if not (FOLDER / "node_modules" / package.rpartition("@")[0]).is_dir():
        install = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(FOLDER), package]
        try:
            subprocess.run(install, check=True, capture_output=True, timeout=90)
        except subprocess.SubprocessError:
            pytest.skip(f"{package} cannot be installed from here")
    return FOLDER / "node_modules"
