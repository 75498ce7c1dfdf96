from services.uploads.config import Config
from services.uploads.demo_data import seed
from services.uploads.models import Upload
from shared.ids import new_id
from tests.uploads.conftest import Client, kept_files


def test_demo_images_are_real_and_made_once(client: Client, config: Config) -> None:
    owners, told = [new_id(), new_id()], []
    ids = seed(config, owners, 5, lambda done, total: told.append((done, total)))
    assert told == [(number, 5) for number in range(1, 6)]
    assert {upload.user_id for upload in Upload.select()} == set(owners)
    assert len({upload.sha256 for upload in Upload.select()}) == 5
    answer = client.get(f"/api/files/by-id/{ids[0]}")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert client.get(Upload.get_by_id(ids[0]).path).data == answer.data
    assert seed(config, owners, 7, lambda *_: None)[:5] == ids
    assert len(kept_files(config)) == 7


def test_without_users_nothing_is_made(client: Client, config: Config) -> None:
    assert seed(config, [], 5, lambda *_: None) == []
