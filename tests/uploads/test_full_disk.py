"""A disk that is really full: nothing more can be written, but what is there can be deleted."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.uploads import samples
from tests.uploads.conftest import AsUser, Headers
from tests.uploads.test_server import Served, auth
from tests.uploads.tus_client import PATH, SPEAKS, metadata

__all__ = ["auth"]
MIB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=70m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Take all that is free, down to the last byte."""
    with suppress(OSError), (folder / "filler").open("ab", buffering=0) as file:
        while file.write(bytes(MIB)):
            pass
    assert os.statvfs(folder).f_bavail == 0


def send(served: Served, user: Headers) -> tuple[int, str]:
    """Return the status of an upload of 1 MB, and its id."""
    headers = user | {"Content-Type": samples.MULTIPART}
    status, body = served.ask("POST", "/api/upload", headers, samples.form(samples.pdf(MIB), "a.pdf"))
    return status, body.get("data", {}).get("id", "")


def test_a_user_makes_room_on_a_full_disk(small_disk: Path, auth: str, as_user: AsUser) -> None:
    served, ann = Served(small_disk, auth, APP_ENV="development"), as_user()
    try:
        first, second = send(served, ann)[1], send(served, ann)[1]
        about = {"Upload-Length": "1000", "Upload-Metadata": metadata(filename="a.pdf")}
        begun = served.answer("POST", PATH, ann | SPEAKS | about)["Location"]
        fill(small_disk)
        assert send(served, ann)[0] == 507
        assert served.ask("DELETE", f"/api/uploads/{first}", ann)[0] == 204
        assert send(served, ann)[0] == 201
        (small_disk / "filler").unlink()
        assert served.ask("DELETE", f"/api/uploads/{second}", ann)[0] == 204  # which fills the reserve again
        fill(small_disk)
        assert served.ask("DELETE", begun, ann | SPEAKS)[0] == 204
        assert (small_disk / "log").read_text().count("the reserve") == 2
    finally:
        served.stop()
