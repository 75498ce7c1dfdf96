"""Bytes without a row go, all others stay."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask

from services.uploads.config import Config
from services.uploads.maintenance import garbage_collection
from services.uploads.maintenance.garbage_collection import GRACE, GarbageCollector, sweep
from services.uploads.maintenance.user_deletion import OwnerConsumer
from services.uploads.models import Fact, FeedPosition, Upload
from services.uploads.storage.base import Storage
from services.uploads.upload_service import UploadService
from shared import clock
from shared.ids import first_id, new_id
from tests.feeds import TOLD, ServedFeed
from tests.uploads import s3_server, samples
from tests.uploads.conftest import AsUser, Headers, Send, drafts, drafts_folder, kept_files
from tests.uploads.test_storage import keep, key

UploadFile = Callable[..., dict[str, Any]]


@pytest.fixture
def storage_setting(any_storage: dict[str, str]) -> dict[str, str]:
    return any_storage


@pytest.fixture
def storage(keeper: UploadService) -> Storage:
    return keeper.storage


def orphan(storage: Storage) -> str:
    name = key()
    keep(storage, name, samples.png())
    return name


def left_draft(config: Config) -> Path:
    path = drafts_folder(config) / new_id()
    path.write_bytes(samples.png())
    return path


def put_foreign(config: Config, name: str) -> None:
    if config.bucket:
        s3_server.put(config, name, b"x")
    else:
        path = config.storage_root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")


def remove_foreign(config: Config, name: str) -> None:
    if config.bucket:
        s3_server.remove(config, name)
    else:
        (config.storage_root / name).unlink()


def soon() -> datetime:
    """Return a moment before which everything was written."""
    return clock.now() + timedelta(minutes=1)


def test_bytes_without_a_row_and_old_drafts_go(upload: UploadFile, storage: Storage, config: Config) -> None:
    upload()
    kept = kept_files(config)
    orphan(storage), orphan(storage), left_draft(config)
    assert sweep(storage, soon()) == 2
    assert kept_files(config) == kept
    assert not drafts(config)


def test_what_is_under_way_stays(upload: UploadFile, storage: Storage, config: Config) -> None:
    upload()
    key, draft = orphan(storage), left_draft(config)
    assert sweep(storage, clock.now() - GRACE) == 0
    assert key in kept_files(config)
    storage.delete(key)
    draft.unlink()


def test_an_empty_table_is_no_reason_to_remove_everything(app: Flask, storage: Storage, config: Config) -> None:
    key = orphan(storage)
    assert sweep(storage, soon()) == 0
    assert kept_files(config) == {key}
    storage.delete(key)


def test_what_is_not_ours_is_left_alone(upload: UploadFile, storage: Storage, config: Config) -> None:
    upload()
    kept = kept_files(config)
    foreign = {"notes/readme.txt", f"{new_id()}/.gitignore"}
    for name in foreign:
        put_foreign(config, name)
    sweep(storage, soon())
    assert kept_files(config) == kept | foreign
    for name in foreign:
        remove_foreign(config, name)


def test_the_service_sweeps_when_it_starts(
    keeper: UploadService, upload: UploadFile, storage: Storage, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload()
    key = orphan(storage)
    monkeypatch.setattr(garbage_collection, "GRACE", timedelta(minutes=-1))
    sweeper = GarbageCollector(keeper)
    sweeper.start()
    until = clock.now() + timedelta(seconds=10)
    while key in kept_files(config):
        assert clock.now() < until
    sweeper.stop()


@pytest.fixture
def reader(keeper: UploadService, config: Config) -> OwnerConsumer:
    reader = OwnerConsumer(config, keeper)
    reader.last_event_id = None
    return reader


def deleted(user_id: str, number: int) -> dict[str, Any]:
    return {"id": f"0-{number}", "type": "user.deleted", "subject": user_id, "data": {"id": user_id}}


def test_a_deleted_user_loses_all_files(
    reader: OwnerConsumer, upload: UploadFile, bob: Headers, config: Config
) -> None:
    gone = [upload(name=f"{number}.png") for number in range(3)]
    stays = upload(headers=bob)
    reader._apply([deleted(gone[0]["userId"], 1), {"id": "0-2", "type": "user.updated", "subject": "x", "data": {}}])
    assert [upload.id for upload in Upload.select()] == [stays["id"]]
    assert len(kept_files(config)) == 1
    facts = Fact.select().where(Fact.type == "upload.deleted")
    assert {fact.subject for fact in facts} == {item["id"] for item in gone}
    assert {orjson.loads(fact.data)["userId"] for fact in facts} == {gone[0]["userId"]}
    assert FeedPosition.get().event_id == "0-2"


def test_a_deletion_that_fails_is_not_half_done(
    reader: OwnerConsumer, send: Send, ann: Headers, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = send().json["data"]["userId"]
    monkeypatch.setattr(OwnerConsumer, "_move_position", lambda *_args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reader._apply([deleted(user_id, 1)])
    monkeypatch.undo()
    assert len(kept_files(config)) == Upload.select().count() == 1


def test_files_of_users_whom_auth_does_not_know_go_when_the_feed_has_forgotten(
    keeper: UploadService, config: Config, upload: UploadFile, as_user: AsUser
) -> None:
    """A feed that does not reach back to where the reader was may have told of their deletion."""
    ann, bob = (f"{first_id(TOLD)[:-1]}{digit}" for digit in "12")
    gone, stays, young = (upload(headers=as_user(user)) for user in (ann, bob, None))
    feed = ServedFeed("auth")
    feed.tables["/internal/users"] = [{"id": bob, "name": "Bob", "avatar": None}]
    feed.tell("user.deleted", ann)
    feed.forget()
    with feed.served():
        reader = OwnerConsumer(replace(config, auth_url=feed.url), keeper)
        while reader.read_batch():
            pass
    assert {row.id for row in Upload.select()} == {stays["id"], young["id"]}
    assert gone["id"] not in str(kept_files(config))
    assert FeedPosition.get().event_id == "0-1"
