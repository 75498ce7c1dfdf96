from pathlib import Path

import pytest

from services.uploads.config import Config
from shared.settings import SettingsError

KEY = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a/secret+="}


def load(folder: Path, **settings: str) -> Config:
    return Config.load({"APP_ENV": "test", "DATA_DIR": str(folder)} | settings)


def mistakes(folder: Path, **settings: str) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load(folder, **settings)
    return error.value.mistakes


def test_files_are_kept_under_data_dir_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    assert load(tmp_path).storage_root == tmp_path / "uploads"
    assert load(tmp_path).bucket is None
    assert load(tmp_path, STORAGE_URL="file:///srv/my files").storage_root == Path("/srv/my files")


@pytest.mark.parametrize(
    "url, bucket, prefix",
    [
        ("s3://uploads", "uploads", ""),
        ("s3://uploads/", "uploads", ""),
        ("s3://my.bucket-1/a/b_c.d", "my.bucket-1", "a/b_c.d"),
    ],
)
def test_a_bucket_may_have_a_prefix(tmp_path: Path, url: str, bucket: str, prefix: str) -> None:
    config = load(tmp_path, STORAGE_URL=url, **KEY)
    assert config.bucket == (bucket, prefix)
    assert config.s3_endpoint == "https://s3.us-east-1.amazonaws.com"


def test_the_store_follows_the_region(tmp_path: Path) -> None:
    config = load(tmp_path, STORAGE_URL="s3://uploads", AWS_REGION="eu-central-1", **KEY)
    assert config.s3_endpoint == "https://s3.eu-central-1.amazonaws.com"
    elsewhere = load(tmp_path, STORAGE_URL="s3://uploads", AWS_ENDPOINT_URL="http://[::1]:9000/storage/v1/", **KEY)
    assert elsewhere.s3_endpoint == "http://[::1]:9000/storage/v1"


@pytest.mark.parametrize("url", ["/srv/files", "file://", "file://host/files", "files", "file:///", "s3:///x", "s3://"])
def test_no_other_storage_is_accepted(tmp_path: Path, url: str) -> None:
    assert mistakes(tmp_path, STORAGE_URL=url, **KEY) == [
        "STORAGE_URL must be an address that starts with file:///path or s3://"
    ]


@pytest.mark.parametrize(
    "url",
    ["s3://Uploads", "s3://up/loads/../x", "s3://uploads//x", "s3://uploads/%41", "s3://uploads/ä", "s3://a:b@uploads"],
)
def test_a_bucket_needs_no_encoding(tmp_path: Path, url: str) -> None:
    [mistake] = mistakes(tmp_path, STORAGE_URL=url, **KEY)
    assert mistake.startswith("STORAGE_URL must be like s3://bucket/prefix")


def test_a_bucket_needs_a_key(tmp_path: Path) -> None:
    assert mistakes(tmp_path, STORAGE_URL="s3://uploads") == [
        "AWS_ACCESS_KEY_ID must be set, since STORAGE_URL names a bucket",
        "AWS_SECRET_ACCESS_KEY must be set, since STORAGE_URL names a bucket",
    ]


WRONG = {
    "AWS_ACCESS_KEY_ID": "an id",
    "AWS_SECRET_ACCESS_KEY": "a secret\n",
    "AWS_REGION": "eu/central",
    "AWS_ENDPOINT_URL": "https://user:password@example.com",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_would_break_a_signature_stops_the_start(tmp_path: Path, name: str) -> None:
    [mistake] = mistakes(tmp_path, **{"STORAGE_URL": "s3://uploads", **KEY, name: WRONG[name]})
    assert mistake.startswith(f"{name} must be ")
