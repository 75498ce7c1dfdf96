"""What can go wrong between the service and its S3 store, seen from the clients of the service."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3

from services.uploads.app import open_storage
from services.uploads.config import Config
from services.uploads.maintenance.garbage_collection import GarbageCollector
from services.uploads.storage import s3
from services.uploads.storage.base import StorageDown
from services.uploads.storage.local import LocalStorage
from services.uploads.storage.s3 import NOTHING, S3Storage
from services.uploads.storage.sigv4 import Credentials, query_string, signed
from services.uploads.upload_service import UploadService
from shared import clock
from tests.helpers import assert_problem
from tests.uploads import s3_server, samples
from tests.uploads.conftest import Client, Headers, Send, in_threads, kept_files, parts
from tests.uploads.s3_server import S3Server
from tests.uploads.test_storage import keep, key, read

UploadFile = Callable[..., dict[str, Any]]
Answer = Callable[[bytes], bytes | None]


def refusal(status: int, code: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>inside 10.0.0.7</Message></Error>".encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (status, len(body), body)


class Line:
    """A line to the real store, on which things go wrong as a test tells it.

    `answers` are given to the next requests in place of the store's: whole answers, an empty one to hang up, a number
    of bytes after which the store's answer is cut off, None for what the store says. The rest goes through.
    """

    def __init__(self, port: int) -> None:
        self._store = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.answers: list[bytes | int | None] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.hangs = threading.Event()
        self._closing = threading.Event()
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, socket.create_connection(("127.0.0.1", self._store)) as store:
            while request := self._read(client):
                if self.hangs.is_set():
                    self._closing.wait(5)
                    return
                self.requests.append(request)
                answer = self.answers.pop(0) if self.answers else None
                if isinstance(answer, bytes):
                    client.sendall(answer)
                    return
                store.sendall(request)
                client.sendall(self._read(store, request.startswith(b"HEAD"))[:answer])
                if answer is not None:
                    return

    @staticmethod
    def _read(source: socket.socket, no_body: bool = False) -> bytes:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (more := source.recv(65536)):
                return data
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        missing = int(length[0].split(b":")[1]) - len(body) if length and not no_body else 0
        while missing > 0 and (more := source.recv(min(missing, 65536))):
            data += more
            missing -= len(more)
        return data

    def hang_up(self) -> None:
        """Close all connections."""
        for client in self._open:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self) -> None:
        self._closing.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()


@pytest.fixture
def line(s3: S3Server) -> Iterator[Line]:
    line = Line(s3.port)
    yield line
    line.close()


@pytest.fixture
def storage_setting(s3: S3Server, line: Line) -> dict[str, str]:
    return s3.settings() | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{line.port}"}


@pytest.fixture
def storage(config: Config) -> S3Storage:
    storage = open_storage(config)
    assert isinstance(storage, S3Storage)
    return storage


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PATIENT", urllib3.Timeout(1.0))
    monkeypatch.setattr(s3, "QUICK", urllib3.Timeout(1.0))
    monkeypatch.setattr(s3, "SOON", 0.1)


# The examples of Amazon's page "Authenticating Requests: Using the Authorization Header".
@pytest.mark.parametrize(
    "path, query, headers, signature",
    [
        ("/test.txt", {}, {"range": "bytes=0-9"}, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        (
            "/",
            {"prefix": "J", "max-keys": "2"},
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_documentation(
    path: str, query: dict[str, str], headers: Headers, signature: str
) -> None:
    example = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "us-east-1")
    moment = datetime(2013, 5, 24, tzinfo=UTC)
    given = headers | {"host": "examplebucket.s3.amazonaws.com"}
    sent = signed(example, "GET", path, query_string(query), given, NOTHING, moment)
    assert sent["authorization"].endswith(f", Signature={signature}")


def test_a_secret_does_not_show() -> None:
    assert "hidden" not in repr(Credentials("id", "hidden", "us-east-1"))


def test_the_server_of_these_tests_refuses_a_wrong_secret(config: Config, storage: S3Storage) -> None:
    storage.check()
    credentials = Credentials(config.s3_key_id or "", "wrong", config.s3_region)
    wrong = S3Storage(config.s3_endpoint, "uploads", "", credentials, config.data_dir / "drafts")
    with pytest.raises(StorageDown, match="403 SignatureDoesNotMatch"):
        wrong.check()


def test_a_long_list_comes_in_pages(storage: S3Storage, monkeypatch: pytest.MonkeyPatch, line: Line) -> None:
    page = storage._page
    monkeypatch.setattr(storage, "_page", lambda query: page({**query, "max-keys": "2"}))
    places = {key() for _ in range(5)}
    for place in places:
        keep(storage, place, b"x")
    listed = list(storage.list())
    assert {stored.key for stored in listed} == places
    assert len(listed) == 5
    assert all(abs((clock.now() - stored.modified).total_seconds()) < 60 for stored in listed)
    assert len([request for request in line.requests if b"list-type=2" in request]) == 3


def test_moving_from_a_folder_is_copying(storage: S3Storage, config: Config, s3: S3Server, tmp_path: Path) -> None:
    store = replace(config, s3_endpoint=f"http://127.0.0.1:{s3.port}")
    folder, place = tmp_path / "folder", key()
    keep(LocalStorage(folder), place, b"0123456789")
    for path in folder.glob("*/*"):
        s3_server.put(store, str(path.relative_to(folder)), path.read_bytes())
    assert [stored.key for stored in storage.list()] == [place]
    assert read(storage, place, 2, 5) == b"234"


@pytest.mark.parametrize("sent", [samples.png(), samples.with_metadata("PNG", 6)])
def test_the_store_is_told_the_hash_of_what_it_gets(upload: UploadFile, line: Line, sent: bytes) -> None:
    stored = upload(sent)
    head, _, body = line.requests[0].partition(b"\r\n\r\n")
    assert f"x-amz-content-sha256: {hashlib.sha256(body).hexdigest()}".encode() in head
    assert (stored["size"], stored["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


def test_connections_are_used_again(storage: S3Storage, line: Line) -> None:
    place = key()
    for _ in range(5):
        keep(storage, place, b"x" * 300_000)
        assert read(storage, place, 0, 300_000) == b"x" * 300_000
        storage.delete(place)
    assert line.connections == 1


def test_a_connection_that_was_closed_meanwhile_costs_nothing(storage: S3Storage, line: Line) -> None:
    keep(storage, key(), b"x")
    line.hang_up()
    keep(storage, key(), b"x")


@pytest.mark.parametrize("answer", [b"", 5, refusal(503, "SlowDown"), refusal(500, "InternalError")])
@pytest.mark.parametrize("step", ["PUT", "GET"])
def test_what_passes_is_not_noticed(
    client: Client, upload: UploadFile, line: Line, answer: bytes | int, step: str
) -> None:
    """Also where the store has done it and only its answer was lost."""
    if step == "PUT":
        line.answers = [answer]
    stored = upload()
    if step == "GET":
        line.answers = [answer]
    assert client.get(stored["path"]).data == samples.png()


LASTING = {
    "hung up": ([b""] * 9, 503, "SERVICE_UNAVAILABLE"),
    "overloaded": ([refusal(503, "SlowDown")] * 9, 503, "SERVICE_UNAVAILABLE"),
    "no such bucket": ([refusal(404, "NoSuchBucket")] * 9, 503, "SERVICE_UNAVAILABLE"),
    "wrong key": ([refusal(403, "InvalidAccessKeyId")] * 9, 503, "SERVICE_UNAVAILABLE"),
    "wrong region": ([refusal(301, "PermanentRedirect")] * 9, 503, "SERVICE_UNAVAILABLE"),
    "something else": ([b"HTTP/1.1 404 X\r\nContent-Length: 2\r\n\r\nNo"] * 9, 503, "SERVICE_UNAVAILABLE"),
    "nonsense": ([b"SSH-2.0-OpenSSH\r\n"] * 9, 503, "SERVICE_UNAVAILABLE"),
    "full": ([refusal(507, "XMinioStorageFull")] * 9, 507, "STORAGE_FULL"),
    "over its quota": ([refusal(403, "QuotaExceeded")] * 9, 507, "STORAGE_FULL"),
}


@pytest.mark.parametrize("case", LASTING)
def test_a_store_that_does_not_take_it_is_told(client: Client, send: Send, ann: Headers, line: Line, case: str) -> None:
    answers, status, code = LASTING[case]
    line.answers = list(answers)
    body = assert_problem(send(), status, code)
    assert "10.0.0.7" not in str(body)
    line.answers = []
    assert send().status_code == 201
    assert client.get("/api/uploads", headers=ann).json["pagination"]["total"] == 1


@pytest.mark.parametrize("case", [name for name in LASTING if LASTING[name][1] == 503])
def test_a_store_that_does_not_give_it_is_told(client: Client, upload: UploadFile, line: Line, case: str) -> None:
    path = upload()["path"]
    for place in (path, f"{path}?w=1"):
        line.answers = list(LASTING[case][0])
        assert_problem(client.get(place), 503, "SERVICE_UNAVAILABLE")
        line.answers = []
        assert client.get(place).status_code == 200


@pytest.mark.parametrize("ranges", ["bytes=0-3", "bytes=0-3,10-12"])
def test_a_store_that_ignores_ranges_gives_no_wrong_bytes(
    client: Client, upload: UploadFile, line: Line, ranges: str
) -> None:
    path = upload()["path"]
    line.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcdefghi"] * 2
    assert_problem(client.get(path, headers={"Range": ranges}), 503, "SERVICE_UNAVAILABLE")


PARTS = [  # what is asked for, status and headers of the answer, whether it is taken
    (2, 5, 206, "Content-Range: bytes 2-4/10", True),
    (2, 5, 200, "Content-Range: bytes 2-4/10", True),
    (2, 5, 206, "", True),
    (0, 3, 200, "", True),  # the whole object
    (2, 5, 200, "", False),
    (2, 5, 206, "Content-Range: bytes 3-5/10", False),
    (0, 3, 200, "Content-Range: bytes 3-5/10", False),
    (2, 5, 200, "Content-Range: bytes 2-40/100", False),
    (2, 5, 204, "Content-Range: bytes 2-4/10", False),
    (2, 6, 206, "Content-Range: bytes 2-5/10", False),
]


@pytest.mark.parametrize("start, stop, status, header, taken", PARTS)
def test_a_part_is_known_by_its_range_or_its_status(
    storage: S3Storage, line: Line, start: int, stop: int, status: int, header: str, taken: bool
) -> None:
    head = [f"HTTP/1.1 {status} X", *filter(None, [header]), "Content-Length: 3", "", "abc"]
    line.answers = ["\r\n".join(head).encode()]
    if taken:
        assert read(storage, key(), start, stop) == b"abc"
    else:
        with pytest.raises(StorageDown, match=f"another part .* {status}"):
            storage.open(key(), start, stop)


@pytest.mark.usefixtures("impatient")
def test_a_store_that_hangs_is_given_up(client: Client, send: Send, upload: UploadFile, line: Line) -> None:
    path = upload()["path"]
    line.hangs.set()
    assert_problem(send(), 503, "SERVICE_UNAVAILABLE")
    assert_problem(client.get(path), 503, "SERVICE_UNAVAILABLE")
    assert parts(client) == {"database": "ok", "storage": "down"}
    line.hangs.clear()
    assert client.get(path).status_code == 200
    assert client.get("/readyz").status_code == 200


def test_a_store_that_hangs_holds_one_thread(storage: S3Storage, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    def took() -> float:
        began = time.monotonic()
        with pytest.raises(StorageDown):
            storage.open(key(), 0, 1)
        return time.monotonic() - began

    monkeypatch.setattr(s3, "PATIENT", urllib3.Timeout(1.5))
    monkeypatch.setattr(s3, "SOON", 0)
    line.hangs.set()
    assert took() > 1  # nobody knows yet
    assert sum(seconds > 1 for seconds in in_threads(*[took] * 8)) == 1
    line.hangs.clear()
    with pytest.raises(FileNotFoundError):
        storage.open(key(), 0, 1)
    assert None not in in_threads(*[lambda: list(storage.list())] * 8)


@pytest.mark.usefixtures("impatient")
def test_what_took_its_time_to_fail_is_not_tried_again(storage: S3Storage, line: Line) -> None:
    line.hangs.set()
    with pytest.raises(StorageDown, match="ReadTimeoutError"):
        storage.open(key(), 0, 1)
    assert line.connections == 1


@pytest.mark.parametrize("job", [S3Storage.check, lambda storage: storage.delete(key())])
def test_a_check_and_a_deletion_are_given_up_earlier(
    storage: S3Storage, line: Line, monkeypatch: pytest.MonkeyPatch, job: Callable[[S3Storage], None]
) -> None:
    monkeypatch.setattr(s3, "QUICK", urllib3.Timeout(0.3))
    line.hangs.set()  # it hangs up after 5 seconds
    with pytest.raises(StorageDown, match="ReadTimeoutError"):
        job(storage)


def test_what_has_gone_already_is_deleted(storage: S3Storage, line: Line) -> None:
    line.answers = [refusal(404, "NoSuchKey")]  # as some stores say
    storage.delete(key())


def test_the_store_is_not_asked_where_no_bytes_are_sent(client: Client, upload: UploadFile, line: Line) -> None:
    path = upload(samples.pdf(600_000), "a.pdf")["path"]
    line.requests.clear()
    head = client.head(path)
    assert (head.status_code, head.headers["Content-Length"]) == (200, "600000")
    assert client.get(path, headers={"If-None-Match": head.headers["ETag"]}).status_code == 304
    assert_problem(client.get(path, headers={"If-Match": '"other"'}), 412, "PRECONDITION_FAILED")
    assert_problem(client.get(path, headers={"Range": "bytes=600000-"}), 416, "RANGE_NOT_SATISFIABLE")
    assert not line.requests


def test_a_deletion_while_the_store_is_away_is_left_for_the_sweeper(
    client: Client, upload: UploadFile, ann: Headers, line: Line, config: Config
) -> None:
    stored = upload()
    line.answers = [b""] * 2
    assert client.delete(f"/api/uploads/{stored['id']}", headers=ann).status_code == 204
    assert_problem(client.get(stored["path"]), 404, "NOT_FOUND")
    [left] = kept_files(config)
    s3_server.remove(config, left)


def test_an_answer_that_is_cut_off_is_never_given_out_as_whole(client: Client, upload: UploadFile, line: Line) -> None:
    stored = upload(samples.pdf(600_000), "a.pdf")
    line.answers = [300_000]
    answer = client.get(stored["path"], buffered=False)
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(stored["size"]))
    with pytest.raises(StorageDown, match="in the middle"):
        b"".join(answer.response)
    answer.close()


def test_a_list_that_cannot_be_read_removes_nothing(storage: S3Storage, line: Line) -> None:
    place = key()
    keep(storage, place, b"x")
    line.answers = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<oops"]
    with pytest.raises(StorageDown, match="cannot be read"):
        list(storage.list())
    storage.delete(place)


def test_the_service_starts_without_its_store_and_finds_it_later(
    config: Config, storage: S3Storage, line: Line, tmp_path: Path
) -> None:
    line.answers = [b""] * 2
    with pytest.raises(StorageDown):
        storage.check()
    storage.check()


def methods(line: Line) -> list[bytes]:
    """Return the methods of the requests since the last call."""
    found = [request.split()[0] for request in line.requests]
    line.requests.clear()
    return found


def test_a_check_puts_and_reads_an_object_until_that_worked(storage: S3Storage, line: Line) -> None:
    full = refusal(507, "XMinioStorageFull")
    for answers in ([None, refusal(403, "AccessDenied")], [None, None, refusal(404, "NoSuchKey")], [None, full]):
        line.answers = list(answers)
        if answers[-1] == full:
            storage.check()  # files can still be read
            assert methods(line) == [b"GET", b"PUT"]
        else:
            with pytest.raises(StorageDown, match="an object cannot be put, read and deleted: "):
                storage.check()
            methods(line)
    storage.check()
    assert methods(line) == [b"GET", b"PUT", b"GET", b"DELETE"]
    storage.check()
    assert methods(line) == [b"GET"]
    assert not list(storage.list())


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", b"HTTP/1.1 206 X\r\nContent-Length: 3\r\n\r\nabc"],
)
def test_a_store_that_gives_other_bytes_is_down(client: Client, line: Line, answer: bytes) -> None:
    line.answers = [None, None, answer]
    assert parts(client) == {"database": "ok", "storage": "down"}
    assert methods(line) == [b"GET", b"PUT", b"GET", b"DELETE"]
    assert parts(client) == {"database": "ok", "storage": "ok"}


def test_a_store_that_does_not_work_is_told_at_the_start(
    keeper: UploadService, line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    line.answers = [None, refusal(403, "AccessDenied")]
    sweeper = GarbageCollector(keeper)
    sweeper.stop()
    sweeper._run()
    said = "the storage does not work: an object cannot be put, read and deleted: the store answers 403 AccessDenied"
    assert said in caplog.messages
