"""Bytes without a row go, all others stay."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from flask import Flask

from services.uploads.config import Config
from services.uploads.models import Fact, FeedPosition, Upload
from services.uploads.owners import OwnerReader
from services.uploads.storage import Storage
from services.uploads.sweeping import GRACE, Sweeper, sweep
from shared import clock
from shared.ids import new_id
from tests.uploads import samples
from tests.uploads.conftest import Headers, Send, drafts, kept_files

UploadFile = Callable[..., dict[str, Any]]


@pytest.fixture
def storage(app: Flask) -> Storage:
    storage: Storage = app.extensions["postern.storage"]
    return storage


def orphan(config: Config, name: str = "") -> Path:
    path = config.storage_root / (name or f"{new_id()}/{new_id()}.png")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(samples.png())
    return path


def age(path: Path, minutes: float) -> None:
    moment = clock.now().timestamp() - minutes * 60
    os.utime(path, (moment, moment))


def test_bytes_without_a_row_and_old_drafts_go(upload: UploadFile, storage: Storage, config: Config) -> None:
    upload()
    [kept] = kept_files(config)
    for path in (config.storage_root / kept, orphan(config), orphan(config), orphan(config, f"tmp/{new_id()}")):
        age(path, 20)
    assert sweep(storage, clock.now() - GRACE) == 2
    assert kept_files(config) == {kept}
    assert not drafts(config)


def test_what_is_under_way_stays(upload: UploadFile, storage: Storage, config: Config) -> None:
    upload()
    young = [orphan(config), orphan(config, f"tmp/{new_id()}")]
    assert sweep(storage, clock.now() - GRACE) == 0
    assert all(path.exists() for path in young)
    for path in young:
        path.unlink()


def test_an_empty_table_is_no_reason_to_remove_everything(app: Flask, storage: Storage, config: Config) -> None:
    path = orphan(config)
    assert sweep(storage, clock.now() + timedelta(minutes=1)) == 0
    assert path.exists()
    path.unlink()


def test_what_is_not_ours_is_left_alone(upload: UploadFile, storage: Storage, config: Config) -> None:
    upload()
    foreign = [orphan(config, "notes/readme.txt"), orphan(config, f"{new_id()}/.gitignore")]
    sweep(storage, clock.now() + timedelta(minutes=1))
    assert all(path.exists() for path in foreign)
    for path in foreign:
        path.unlink()


def test_the_service_sweeps_when_it_starts(app: Flask, upload: UploadFile, storage: Storage, config: Config) -> None:
    upload()
    path = orphan(config)
    age(path, 20)
    sweeper = Sweeper(storage, app.extensions["postern.variants"], app.extensions["postern.resumer"])
    sweeper.start()
    until = clock.now() + timedelta(seconds=10)
    while path.exists():
        assert clock.now() < until
    sweeper.stop()


@pytest.fixture
def reader(app: Flask, config: Config) -> OwnerReader:
    parts = app.extensions["postern.resumer"].partials
    reader = OwnerReader(config, app.extensions["postern.storage"], app.extensions["postern.variants"], parts)
    reader.last_event_id = None
    return reader


def deleted(user_id: str, number: int) -> dict[str, Any]:
    return {"id": f"0-{number}", "type": "user.deleted", "subject": user_id, "data": {"id": user_id}}


def test_a_deleted_user_loses_all_files(reader: OwnerReader, upload: UploadFile, bob: Headers, config: Config) -> None:
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
    reader: OwnerReader, send: Send, ann: Headers, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_id = send().json["data"]["userId"]
    monkeypatch.setattr(OwnerReader, "_move_position", lambda *_args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reader._apply([deleted(user_id, 1)])
    monkeypatch.undo()
    assert len(kept_files(config)) == Upload.select().count() == 1
