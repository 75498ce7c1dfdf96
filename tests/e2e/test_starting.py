"""What is read before anything starts: the settings file, the Procfile, and the settings of all services."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.launcher.discovery import known_services
from services.launcher.dotenv import read_dotenv
from services.launcher.programs import read_procfile
from shared.database.takeover import ADVICE
from shared.start_error import StartError
from tests.e2e.stack import ROOT
from tests.ports import free_port


@pytest.mark.parametrize(
    "line, value",
    [
        ("A=b", "b"),
        ("A=", ""),
        ("  A=b  ", "b"),
        ("A=b # why", "b"),
        ("A=postgresql://user:p@host/name?x=1&y=$HOME", "postgresql://user:p@host/name?x=1&y=$HOME"),
        ('A="b c # d"', "b c # d"),
        ("A='b \"c\"'", 'b "c"'),
        ('A=""', ""),
    ],
)
def test_a_line_of_the_settings_file_is_read_as_it_stands(tmp_path: Path, line: str, value: str) -> None:
    (tmp_path / ".env").write_text(f"# a comment\n\n{line}\nB=c\n")
    assert read_dotenv(tmp_path / ".env") == {"A": value, "B": "c"}


@pytest.mark.parametrize("line", ["A", "A = b", "export A=b", "A=b c", 'A="b', "A=b'c", "1A=b", "=b"])
def test_a_line_that_is_no_setting_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"B=c\n{line}\n")
    with pytest.raises(StartError, match="line 2: write NAME=value"):
        read_dotenv(tmp_path / ".env")


def test_a_procfile_is_run_with_the_same_interpreter(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("# all of it\n\na: python -m x 'y z'\nb: other --flag\n")
    commands = {program.name: program.command for program in read_procfile(tmp_path / "Procfile", ["--reload"])}
    assert commands == {"a": [sys.executable, "-m", "x", "y z", "--reload"], "b": ["other", "--flag", "--reload"]}


@pytest.mark.parametrize("line", ["a", "a:", "a: one", "A: one"])
def test_a_line_that_is_no_program_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "Procfile").write_text(f"a: one\n{line}\n")
    with pytest.raises(StartError, match="line 2: write name: command"):
        read_procfile(tmp_path / "Procfile", [])


def test_settings_are_checked_without_a_web_framework(tmp_path: Path) -> None:
    """The gateway's master must not import what gevent patches in its workers."""
    code = (
        "import sys; from services.launcher.discovery import *; load_configs('services', known_services('services'));"
        "print({'flask', 'peewee', 'redis', 'requests', 'ssl', 'urllib3'} & {*sys.modules})"
    )
    environment = {"DATA_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_the_procfile_starts_every_service() -> None:
    programs = read_procfile(ROOT / "Procfile", [])
    assert sorted(program.name for program in programs) == known_services("services")
    assert all(program.command[1:] == ["-m", "services", program.name] for program in programs)


def migrate(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {"DATA_DIR": str(folder / "var"), "PYTHONPATH": str(ROOT)} | settings
    command = [sys.executable, "-m", "services", "migrate"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90)


def test_databases_are_migrated_without_starting_anything(tmp_path: Path) -> None:
    first, second = migrate(tmp_path), migrate(tmp_path)
    assert "posts: 0001_schema" in first.stdout
    assert second.stdout.splitlines() == [
        f"{name}: nothing to do" for name in known_services("services") if name != "gateway"
    ]


def test_a_database_that_cannot_be_used_is_told_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = migrate(tmp_path, AUTH_DATABASE_URL=f"sqlite:///{tmp_path}/file/auth.db")
    assert ran.returncode == 2
    assert ran.stderr.startswith("The database of auth cannot be used (")
    assert ran.stderr.endswith("): check AUTH_DATABASE_URL.\n")


def test_a_database_that_cannot_be_taken_over_stops_the_start(tmp_path: Path) -> None:
    """The others are stopped too, and the reason is one sentence: to start again would not help."""
    dump = (ROOT / "tests/shared/takeover/posts.sqlite.sql").read_text()
    (tmp_path / "var").mkdir()
    with closing(sqlite3.connect(tmp_path / "var/posts.db")) as database:
        database.executescript(f"{dump}; DELETE FROM schema_migration WHERE name > '0007_z'")
    (tmp_path / "Procfile").write_text("uploads: python -m services uploads\nposts: python -m services posts\n")
    settings = {"DATA_DIR": str(tmp_path / "var"), "PYTHONPATH": str(ROOT)}
    ports = {f"{name}_PORT": str(free_port()) for name in ("POSTS", "UPLOADS")}
    command = [sys.executable, "-m", "services"]
    ran = subprocess.run(command, cwd=tmp_path, env=settings | ports, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert [line for line in ran.stderr.splitlines() if not line.startswith("{")] == [
        f"The database {tmp_path}/var/posts.db has the old migrations up to 0007_wide_tag_ids, not all: {ADVICE}."
    ]
    assert "posts cannot start, so everything is stopped.\n" in ran.stdout
