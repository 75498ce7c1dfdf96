"""Files that mean harm, against the service as it runs: an answer to each, and nobody else notices."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from services.uploads.file_types.registry import GIF, JPEG, PNG
from services.uploads.imaging import worker_pool
from shared.problems import Problem
from tests.uploads import hostile, samples
from tests.uploads.conftest import AsUser, Headers, Send
from tests.uploads.test_server import ROOT, Served, auth, served
from tests.waiting import wait_until

__all__ = ["auth", "served"]
MAKERS = dict(hostile.files())
REFUSED = ("cut off", " 65535", "8001", "16383", "of 0", "× 0", "archive", "program", "60 MB", "page")
HARMLESS = {  # what is dangerous of these is dropped, or never unpacked, or given out as an attachment only
    "png of 1 × 65535", "png whose pixels go on for 60 MB", "png with a text of 60 MB",
    "png with an international text of 60 MB", "jpeg and program",
    "png and archive", "png and page", "gif and archive", "webp and archive", "page in a comment", "pdf with a program",
}  # fmt: skip
MAX_GROWTH = 40 * 1024  # KiB of the service, which holds no image
MAX_DECODER = 500 * 1024


@pytest.fixture(scope="module")
def headers(as_user: AsUser) -> Headers:
    return as_user() | {"Content-Type": samples.MULTIPART}


def worker(served: Served) -> str:
    pid = served.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]


def decoders(served: Served) -> list[str]:
    pid = worker(served)
    return [child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def test_there_are_a_hundred() -> None:
    assert len(MAKERS) >= 100


def test_each_gets_an_answer_and_nobody_notices(served: Served, headers: Headers) -> None:
    assert served.ask("POST", "/api/upload", headers, samples.form())[0] == 201
    before, memory = worker(served), served.memory()
    answers = {}
    for name, make in MAKERS.items():
        status, body = served.ask("POST", "/api/upload", headers, samples.form(make(), "a.png"))
        answers[name] = (status, body.get("code"))
    assert {name: answer for name, answer in answers.items() if answer[0] not in (201, 400, 413, 415)} == {}
    taken = {name for name, answer in answers.items() if answer[0] == 201}
    assert {n for n in taken if any(word in n for word in REFUSED)} <= HARMLESS
    assert worker(served) == before
    assert served.memory() - memory < MAX_GROWTH
    assert all(peak(pid) < MAX_DECODER for pid in decoders(served))
    assert served.ask("POST", "/api/upload", headers, samples.form())[0] == 201


def peak(pid: str) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])


def test_a_decoder_that_is_killed_is_replaced(served: Served, headers: Headers) -> None:
    for _ in range(2):
        assert served.ask("POST", "/api/upload", headers, samples.form())[0] == 201
        for pid in decoders(served):
            os.kill(int(pid), signal.SIGSEGV)
            wait_until(lambda pid=pid: "(zombie)" in Path(f"/proc/{pid}/status").read_text())


def draft_of(tmp_path: Path, data: bytes) -> Any:
    path = tmp_path / "draft"
    path.write_bytes(data)
    return path.open("r+b")


def test_an_image_that_takes_too_long_costs_nobody_else(
    tmp_path: Path, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = hostile.PNGS["png of 25 million pixels in 64 bits"]()
    assert send().status_code == 201
    with draft_of(tmp_path, data) as draft, monkeypatch.context() as patched:
        patched.setattr(worker_pool, "CPU_SECONDS", 0.05)
        with pytest.raises(Problem, match="INVALID_IMAGE"):
            worker_pool.clean(draft, PNG, "ann")
    assert send().status_code == 201


@pytest.mark.parametrize("taken", [["bob", "eve"], ["ann"]])
def test_only_so_many_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: list[str]) -> None:
    monkeypatch.setattr(worker_pool, "PATIENCE", 0.01)
    with ExitStack() as held, draft_of(tmp_path, samples.gif()) as draft:
        for client in taken:
            held.enter_context(worker_pool._places.place(client))
        with pytest.raises(Problem, match="SERVICE_UNAVAILABLE"):
            worker_pool.clean(draft, GIF, "ann")
        if "ann" in taken:  # others do not wait for her
            assert worker_pool.clean(draft, GIF, "bob")["width"]


def test_a_machine_that_is_too_busy_blames_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_pool, "PATIENCE", 0.0)
    monkeypatch.setattr(worker_pool, "SECONDS", 0.0)
    data = hostile.PNGS["png of 25 million pixels in 64 bits"]()
    with draft_of(tmp_path, data) as draft, pytest.raises(Problem, match="SERVICE_UNAVAILABLE"):
        worker_pool.clean(draft, PNG, "ann")


def test_a_progressive_picture_with_many_scans_for_its_size_is_refused(send: Send) -> None:
    assert send(samples.many_scans(2000, 2000, 95)).status_code == 201
    assert send(samples.many_scans(2200, 2000, 95)).json["code"] == "INVALID_IMAGE"


def test_a_full_disk_blames_no_image(tmp_path: Path) -> None:
    with draft_of(tmp_path, samples.with_metadata("JPEG")) as draft:
        with open(draft.name, "rb") as unwritable, pytest.raises(Problem, match="STORAGE_FULL"):
            worker_pool.clean(unwritable, JPEG, "ann")
        assert worker_pool.clean(draft, JPEG, "ann")["content"]


def test_a_decoder_that_does_not_start_blames_no_image(
    tmp_path: Path, send: Send, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_pool._end_all()
    with draft_of(tmp_path, samples.jpeg()) as draft, monkeypatch.context() as patched:
        patched.setattr(worker_pool, "PROGRAM", tmp_path / "nowhere.py")
        with pytest.raises(Problem, match="SERVICE_UNAVAILABLE"):
            worker_pool.clean(draft, JPEG, "ann")
    assert send().status_code == 201


def test_the_decoder_has_no_secrets_and_may_open_nothing(send: Send) -> None:
    assert send().status_code == 201
    [decoder] = worker_pool._idle
    process = Path(f"/proc/{decoder._process.pid}")
    assert process.joinpath("environ").read_bytes() == b""
    assert len(list(process.joinpath("fd").iterdir())) == 3
    limits = process.joinpath("limits").read_text()
    assert limits.split("Max open files")[1].split()[0] == "4"


def test_a_decoder_that_has_grown_is_replaced(send: Send, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = worker_pool.Decoder.ask
    monkeypatch.setattr(worker_pool.Decoder, "ask", lambda *args, **job: ask(*args, **job) | {"last": True})
    assert send().status_code == 201
    assert not worker_pool._idle
    monkeypatch.undo()
    assert send().status_code == 201
    assert worker_pool._idle


def test_the_memory_of_a_large_image_is_given_back(send: Send) -> None:
    assert send(samples.png(5000, 5000)).status_code == 201
    for decoder in worker_pool._idle:
        resident = Path(f"/proc/{decoder._process.pid}/statm").read_text().split()[1]
        assert int(resident) * 4096 < 80 * 1024**2


def test_the_service_itself_loads_no_decoder(tmp_path: Path) -> None:
    program = "import sys, services.uploads.app as uploads; uploads.create_app(); sys.exit('PIL' in sys.modules)"
    environment = {"PATH": os.environ["PATH"], "APP_ENV": "test", "DATA_DIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, check=False).returncode == 0
