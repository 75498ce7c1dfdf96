"""Resumable uploads whose requests meet each other, a crash, the sweeper or the end of their owner."""

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from services.uploads.config import Config
from services.uploads.maintenance.garbage_collection import sweep_partials
from services.uploads.maintenance.user_deletion import OwnerConsumer
from services.uploads.models import Resumable, Upload, Usage
from services.uploads.resumable.resumable_uploads import ResumableUploads
from services.uploads.upload_service import UploadService
from shared import clock
from shared.ids import new_id
from shared.problems import Problem
from shared.service import service_of
from tests.helpers import assert_problem
from tests.uploads import samples
from tests.uploads.conftest import Client, Headers, in_threads, kept_files
from tests.uploads.tus_client import Tus

BLOCK = 64 * 1024
QUOTA = 1_000_000
LONG = samples.pdf(3 * BLOCK + 100)


@pytest.fixture
def database_setting(database_url: str) -> dict[str, str]:
    return {"UPLOADS_DATABASE_URL": database_url, "UPLOAD_QUOTA": str(QUOTA)}


@pytest.fixture
def tus(client: Client, ann: Headers) -> Tus:
    return Tus(client, ann)


@pytest.fixture
def resumer(keeper: UploadService) -> ResumableUploads:
    return ResumableUploads(keeper)


def row_id(url: str) -> str:
    return url.rsplit("/")[-1]


def row_of(url: str) -> Resumable:
    row: Resumable = Resumable.get_by_id(row_id(url))
    return row


def delete_user(app: Flask, user_id: str) -> None:
    """Let the service read on its feed that the user is gone."""
    reader = service_of(app).get(OwnerConsumer)
    reader.last_event_id = None
    reader._apply([{"id": "0-1", "type": "user.deleted", "subject": user_id, "data": {"id": user_id}}])


def parts(config: Config) -> list[str]:
    return [path.name for path in (config.data_dir / "tus").iterdir()]


def test_of_many_that_send_the_same_part_one_does(app: Flask, tus: Tus, ann: Headers, config: Config) -> None:
    url = tus.begin(len(LONG))

    def job(letter: bytes) -> Any:
        client = Tus(app.test_client(), ann)
        return lambda: client.patch(url, 0, LONG[:20] + letter * (2 * BLOCK))

    answers = in_threads(*[job(letter) for letter in (b"a", b"b", b"c", b"d")])
    assert sorted(answer.status_code for answer in answers) == [204, 409, 409, 409]
    content = (config.data_dir / "tus" / row_id(url)).read_bytes()
    assert len(content) == tus.offset(url) == 20 + 2 * BLOCK
    assert len(set(content[20:])) == 1


def test_of_many_that_send_the_last_part_one_does(app: Flask, tus: Tus, ann: Headers, config: Config) -> None:
    url = tus.begin(len(LONG))
    tus.patch(url, 0, LONG[:BLOCK])

    def job() -> Any:
        return Tus(app.test_client(), ann).patch(url, BLOCK, LONG[BLOCK:])

    statuses = [answer.status_code for answer in in_threads(*[job] * 4)]
    assert statuses.count(204) == 1
    assert set(statuses) == {204, 409}
    [upload] = Upload.select()
    assert upload.sha256 == hashlib.sha256(LONG).hexdigest()
    [kept] = kept_files(config)
    assert (config.storage_root / kept).read_bytes() == LONG


def test_a_request_that_hung_cannot_go_on_where_another_went_on(tus: Tus, resumer: ResumableUploads) -> None:
    url = tus.begin(len(LONG))

    def blocks() -> Iterator[bytes]:
        yield LONG[:BLOCK]
        assert tus.patch(url, BLOCK, LONG[BLOCK : 2 * BLOCK]).status_code == 204
        yield b"x" * BLOCK

    with pytest.raises(Problem, match="CONFLICT"):
        resumer.add(row_of(url), 0, blocks())
    assert tus.patch(url, 2 * BLOCK, LONG[2 * BLOCK :]).status_code == 204
    assert Upload.get().sha256 == hashlib.sha256(LONG).hexdigest()


@pytest.mark.parametrize("before", [0, BLOCK])
@pytest.mark.parametrize("stop", [2 * BLOCK, len(LONG)])
@pytest.mark.parametrize("how", ["DELETE", "user"])
def test_what_was_given_up_while_more_came_leaves_nothing(
    app: Flask, tus: Tus, resumer: ResumableUploads, config: Config, how: str, stop: int, before: int
) -> None:
    url = tus.begin(len(LONG))
    row = row_of(url)

    def blocks() -> Iterator[bytes]:
        yield LONG[:before]
        if how == "user":
            delete_user(app, row.user_id)
        else:
            assert tus.delete(url).status_code == 204
        yield LONG[before:stop]

    with pytest.raises(Problem, match=r"CONFLICT|NOT_FOUND"):
        resumer.add(row, 0, filter(None, blocks()))
    assert not Upload.select().exists()
    assert not kept_files(config)
    assert not parts(config)


def test_a_broken_line_keeps_what_has_come(tus: Tus, resumer: ResumableUploads) -> None:
    url = tus.begin(len(LONG))

    def blocks() -> Iterator[bytes]:
        yield LONG[:BLOCK]
        raise Problem("BAD_REQUEST")

    with pytest.raises(Problem):
        resumer.add(row_of(url), 0, blocks())
    assert tus.offset(url) == BLOCK


def test_a_crash_before_the_commit_leaves_an_upload_to_go_on_with(
    tus: Tus, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = tus.begin(len(LONG))
    with monkeypatch.context() as patched:
        patched.setattr(UploadService, "record", lambda *_: 1 / 0)
        assert_problem(tus.patch(url, 0, LONG), 500, "INTERNAL_ERROR")
    assert tus.offset(url) == 3 * BLOCK
    assert not kept_files(config)
    assert tus.patch(url, 3 * BLOCK, LONG[3 * BLOCK :]).status_code == 204


def test_parts_that_are_lost_are_sent_again(tus: Tus, keeper: UploadService) -> None:
    url = tus.begin(len(LONG))
    tus.patch(url, 0, LONG[:BLOCK])
    keeper.partials.discard(row_id(url))
    assert_problem(tus.patch(url, BLOCK, LONG[BLOCK:]), 409, "CONFLICT")
    assert tus.offset(url) == 0
    assert tus.patch(url, 0, LONG).status_code == 204


def test_what_is_to_come_counts_until_it_is_given_up(tus: Tus) -> None:
    urls = [tus.begin(QUOTA // 2) for _ in range(2)]
    assert_problem(tus.post(1), 413, "QUOTA_EXCEEDED")
    tus.delete(urls[0])
    data = samples.pdf(QUOTA // 2)
    assert tus.post(len(data), data).status_code == 201
    assert_problem(tus.post(1), 413, "QUOTA_EXCEEDED")


def test_the_quota_holds_for_uploads_begun_at_the_same_time(app: Flask, tus: Tus, ann: Headers) -> None:
    answers = in_threads(*[lambda: Tus(app.test_client(), ann).post(QUOTA // 2 - 1)] * 6)
    assert sorted(answer.status_code for answer in answers) == [201, 201, 413, 413, 413, 413]


def test_the_sweeper_removes_what_was_not_completed_in_time(tus: Tus, keeper: UploadService, config: Config) -> None:
    done = tus.post(len(LONG), LONG).headers["Location"]
    begun = tus.begin(len(LONG))
    tus.patch(begun, 0, LONG[:BLOCK])
    sweep_partials(keeper, clock.now() + timedelta(hours=23))
    assert tus.offset(begun) == BLOCK
    sweep_partials(keeper, clock.now() + timedelta(hours=25))
    assert not Resumable.select().exists()
    assert not parts(config)
    assert Upload.get().id == row_id(done)
    assert Usage.get().bytes == len(LONG)


def test_the_sweeper_removes_parts_that_no_upload_knows(tus: Tus, keeper: UploadService, config: Config) -> None:
    begun = tus.begin(len(LONG))
    tus.patch(begun, 0, LONG[:BLOCK])
    orphan, foreign = config.data_dir / "tus" / new_id(), config.data_dir / "tus" / "notes"
    for path in (orphan, foreign, config.data_dir / "tus" / row_id(begun)):
        path.touch()
        os.utime(path, (1, 1))
    young = config.data_dir / "tus" / new_id()
    young.touch()
    sweep_partials(keeper, clock.now())
    assert set(parts(config)) == {row_id(begun), "notes", young.name}
    foreign.unlink()
    young.unlink()


def test_a_deleted_user_leaves_no_parts(app: Flask, tus: Tus, config: Config) -> None:
    url = tus.begin(len(LONG))
    tus.patch(url, 0, LONG[:BLOCK])
    delete_user(app, row_of(url).user_id)
    assert not Resumable.select().exists()
    assert not parts(config)
