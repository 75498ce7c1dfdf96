from pathlib import Path

import pytest

from services.uploads.config import Config
from shared.env import SettingsError


def test_files_are_kept_under_data_dir_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    settings = {"APP_ENV": "test", "DATA_DIR": str(tmp_path)}
    assert Config.load(settings).storage_root == tmp_path / "uploads"
    assert Config.load(settings | {"STORAGE_URL": "file:///srv/my files"}).storage_root == Path("/srv/my files")


@pytest.mark.parametrize(
    "url", ["s3://bucket/prefix", "/srv/files", "file://", "file://host/files", "files", "file:///"]
)
def test_no_other_storage_is_accepted(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="STORAGE_URL must be an address that starts with file://"):
        Config.load({"APP_ENV": "test", "DATA_DIR": str(tmp_path), "STORAGE_URL": url})
