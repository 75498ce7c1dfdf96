"""The TypeScript client, installed and built once, and what runs it."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.e2e.stack import ROOT

CLIENT = ROOT / "clients/typescript"


def run(*command: str | Path, environment: Mapping[str, str] = MappingProxyType({})) -> str:
    """Run a command in the client's folder and return what it says; fail with that."""
    done = subprocess.run(
        command,
        cwd=CLIENT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    return done.stdout


def build() -> Path:
    """Install what the lock file names, and compile; skip the test where that is impossible.

    Several processes of tests may do so at the same time.
    """
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node and npm are not installed")
    with (CLIENT / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        installed, wanted = CLIENT / "node_modules/.package-lock.json", CLIENT / "package-lock.json"
        if not installed.exists() or installed.stat().st_mtime < wanted.stat().st_mtime:
            try:
                run("npm", "ci", "--ignore-scripts")
            except AssertionError:
                pytest.skip("the packages cannot be installed from here")
        built = CLIENT / "dist/index.js"
        if not built.exists() or built.stat().st_mtime < newest(CLIENT / "src"):
            run("npm", "run", "build")
            built.touch()
    return CLIENT


def newest(folder: Path) -> float:
    return max(path.stat().st_mtime for path in folder.iterdir())


def bundle(entry: Path, output: Path, *flags: str) -> None:
    esbuild = CLIENT / "node_modules/.bin/esbuild"
    run(esbuild, entry, "--bundle", "--minify", "--format=esm", "--log-level=error", f"--outdir={output}", *flags)
