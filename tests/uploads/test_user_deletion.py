"""A user who is deleted while a file comes in leaves neither row nor byte, whichever of the two is first; on both."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import peewee
import pytest
from flask import Flask

from services.uploads import upload_service
from services.uploads.config import Config
from services.uploads.maintenance.garbage_collection import AFTERLIFE
from services.uploads.maintenance.user_deletion import OwnerConsumer
from services.uploads.models import Resumable, Upload, Usage, database
from services.uploads.upload_service import UploadService
from shared import clock
from shared.ids import first_id, new_id
from shared.service import service_of
from tests.conftest import MakeToken
from tests.feeds import TOLD, ServedFeed
from tests.helpers import assert_problem
from tests.lock_order import slow_statements
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, in_threads, kept_files
from tests.uploads.tus_client import Tus

__all__ = ["slow_statements"]

Way = Callable[[Client, Headers, str], Any]


def one(client: Client, ann: Headers, _owner: str) -> Any:
    return client.post("/api/upload", data=samples.form(), content_type=samples.MULTIPART, headers=ann)


def many(client: Client, ann: Headers, _owner: str) -> Any:
    body = samples.form_of_many([("a.png", samples.png()), ("b.pdf", samples.pdf())])
    return client.post("/api/uploads", data=body, content_type=samples.MULTIPART, headers=ann)


def path(client: Client, ann: Headers, owner: str) -> Any:
    return client.put(f"/api/files/{owner}/a/b.png", data=samples.png(), headers=ann)


def resumable(client: Client, ann: Headers, _owner: str) -> Any:
    return Tus(client, ann).post(len(samples.pdf()), samples.pdf())


WAYS: list[Way] = [one, many, path, resumable]


@pytest.fixture
def database_setting(database_url: str) -> dict[str, str]:
    return {"UPLOADS_DATABASE_URL": database_url}


@pytest.fixture
def owner() -> str:
    return new_id()


@pytest.fixture
def ann(owner: str, make_token: MakeToken) -> Headers:
    return {"Authorization": f"Bearer {make_token(owner, 'user')}"}


def delete(app: Flask, owner: str) -> None:
    """Let the service read on its feed that the user is gone."""
    reader = service_of(app).get(OwnerConsumer)
    reader._apply([{"id": f"0-{new_id()}", "type": "user.deleted", "subject": owner, "data": {}}])


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_comes_in_meanwhile_is_not_kept(
    app: Flask, client: Client, ann: Headers, owner: str, config: Config, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    prepare = upload_service.prepare

    def late(*args: Any) -> Any:
        delete(app, owner)
        return prepare(*args)

    monkeypatch.setattr(upload_service, "prepare", late)
    answer = way(client, ann, owner)
    if way is resumable:
        assert_problem(answer, 409, "CONFLICT")
    else:
        assert_problem(answer, 401, "TOKEN_REVOKED")
    assert not Upload.select().exists()
    assert not Resumable.select().exists()
    assert not kept_files(config)


@pytest.mark.parametrize("way", WAYS)
def test_at_the_same_time_one_of_the_two_is_first(
    app: Flask, ann: Headers, owner: str, config: Config, way: Way
) -> None:
    answer, _ = in_threads(lambda: way(app.test_client(), ann, owner), lambda: delete(app, owner))
    assert answer.status_code in (201, 401, 409), answer.text
    assert not Upload.select().exists()
    assert not kept_files(config)


def test_nothing_is_begun_for_nobody(app: Flask, client: Client, ann: Headers, owner: str) -> None:
    delete(app, owner)
    assert_problem(Tus(client, ann).post(10), 401, "TOKEN_REVOKED")


def test_it_is_forgotten_after_a_while(app: Flask, owner: str) -> None:
    delete(app, owner)
    Usage.forget(clock.now() - AFTERLIFE)
    assert Usage.is_gone(owner)
    Usage.forget(clock.now() + timedelta(seconds=1))
    assert not Usage.select().exists()
    database.close()


@pytest.mark.slow
def test_processes_that_delete_the_same_users_do_not_deadlock(
    app: Flask, client: Client, config: Config, make_token: MakeToken, slow_statements: list[bool]
) -> None:
    """One process applies facts, the latest user first, while another one begins again with the table of auth."""
    users = [f"{first_id(TOLD)[:-1]}{digit}" for digit in "12345678"]
    for user in users:
        answer = one(client, {"Authorization": f"Bearer {make_token(user, 'user')}"}, user)
        assert answer.status_code == 201
    source = ServedFeed("auth")
    source.tables["/internal/users"] = [{"id": first_id(TOLD)}]
    failures = []
    with source.served():
        keeper = service_of(app).get(UploadService)
        readers = [OwnerConsumer(dataclasses.replace(config, auth_url=source.url), keeper) for _ in range(2)]
        facts = [{"id": new_id(), "type": "user.deleted", "subject": user, "data": {}} for user in reversed(users)]

        def noted(call: Callable[[], Any]) -> Callable[[], None]:
            def run() -> None:
                try:
                    call()
                except peewee.OperationalError as error:
                    failures.append(error)

            return run

        slow_statements[0] = True
        in_threads(noted(lambda: readers[0]._apply(facts)), noted(readers[1].rebuild))
        slow_statements[0] = False
    assert failures == []
    assert not Upload.select().exists()
    assert not kept_files(config)
