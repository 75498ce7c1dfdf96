"""The tour of the README is run as it stands there."""

import re
import subprocess
from pathlib import Path

from tests.e2e.stack import ROOT, Stack

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def tour(url: str) -> str:
    blocks = BLOCK.findall((ROOT / "README.md").read_text().split("## A tour with curl")[1])
    return "set -eu\n" + "".join(blocks).replace("http://localhost:8000", url)


def test_the_tour_of_the_readme_works(stack: Stack, tmp_path: Path) -> None:
    ran = subprocess.run(["bash", "-c", tour(stack.url)], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count('"success":true') == 7, ran.stdout
    assert ran.stdout.count('"code":"UNAUTHORIZED"') == 1
    assert (tmp_path / "copy.png").read_bytes().startswith(b"\x89PNG")
