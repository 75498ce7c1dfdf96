"""The database of a service: connections, transactions, migrations and times, on both engines."""

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import peewee
import psycopg
import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from shared.database import connection
from shared.database.connection import PRAGMAS, Database, connect, drop_broken, get_or_404, migrate
from shared.database.fields import TimestampField
from shared.ids import new_id
from shared.problems import Problem
from shared.web import health
from shared.web.responses import respond
from tests.conftest import SYNCHRONOUS
from tests.databases import end_connections
from tests.helpers import assert_models_match_migrations, assert_problem
from tests.shared.conftest import in_threads
from tests.shared.toys import MIGRATIONS
from tests.shared.toys.models import MODELS, Toy, database

only_postgres = pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
SETTINGS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}


@pytest.fixture
def fresh(empty_database_url: str) -> Iterator[peewee.Database]:
    """An empty database of each engine."""
    database = connect(empty_database_url)
    yield database
    database.close()


def make_toy(name: str = "train", price: int = 1) -> Toy:
    toy: Toy = Toy.create(name=name, price=price, owner_id=new_id())
    return toy


@pytest.fixture
def _durable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRAGMAS, "synchronous", SYNCHRONOUS)


@pytest.mark.usefixtures("_durable", "app")
def test_every_thread_has_the_pragmas() -> None:
    def read(_index: int) -> dict[str, object]:
        return {name: database.execute_sql(f"PRAGMA {name}").fetchone()[0] for name in SETTINGS}

    assert in_threads(4, read) == [SETTINGS] * 4


@only_postgres
def test_postgres_has_time_limits_and_utc(database_url: str) -> None:
    database = connect(database_url)
    with database.connection_context():
        names = ("statement_timeout", "lock_timeout", "timezone")
        found = [database.execute_sql(f"SHOW {name}").fetchone()[0] for name in names]
    assert found == ["10s", "5s", "UTC"]


@pytest.mark.usefixtures("app")
def test_sqlite_readers_that_go_on_to_write_never_collide() -> None:
    toy = make_toy(price=0)

    def raise_price(_index: int) -> None:
        for _ in range(10):
            with database.atomic():
                price = Toy.get_by_id(toy.id).price
                Toy.update(price=price + 1).where(Toy.id == toy.id).execute()

    assert in_threads(6, raise_price) == [None] * 6
    assert Toy.get_by_id(toy.id).price == 60


@pytest.mark.usefixtures("any_app")
def test_no_connection_is_open_before_the_fork() -> None:
    assert database.is_closed()


def test_each_thread_keeps_its_connection_from_one_request_to_the_next(any_app: Flask) -> None:
    def ask_twice(_index: int) -> list[object]:
        client = any_app.test_client()
        return [database.connection() for _ in range(2) if client.get("/api/toys").status_code == 200]

    seen = in_threads(3, ask_twice)
    assert all(first is second for first, second in seen)
    assert len({id(first) for first, _ in seen}) == 3


def test_a_transaction_that_was_left_open_does_not_reach_the_next_request(any_app: Flask) -> None:
    def leave_open(toy_id: str) -> Response:
        database.atomic().__enter__()
        make_toy()
        return respond("left")

    any_app.view_functions["toys.show"] = leave_open
    client = any_app.test_client()
    assert client.get("/api/toys/x").status_code == 200
    assert not database.in_transaction()
    assert client.get("/api/toys").get_json()["pagination"]["total"] == 0


@only_postgres
def test_a_connection_that_was_lost_between_requests_is_not_noticed(any_app: Flask, database_url: str) -> None:
    client = any_app.test_client()
    assert client.get("/api/toys").status_code == 200
    end_connections(database_url)
    assert client.get("/api/toys").status_code == 200


@only_postgres
def test_a_connection_that_is_lost_in_a_request_costs_that_request_only(any_app: Flask, database_url: str) -> None:
    def lose(toy_id: str) -> Response:
        with database.atomic():
            make_toy()
            end_connections(database_url)
            make_toy("other")
        return respond("never")

    any_app.view_functions["toys.show"] = lose
    client = any_app.test_client()
    assert_problem(client.get("/api/toys/x"), 503, "SERVICE_UNAVAILABLE")
    assert client.get("/api/toys").get_json()["pagination"]["total"] == 0


@only_postgres
def test_a_database_that_cannot_be_reached_is_503(any_app: Flask) -> None:
    database.initialize(connect("postgresql://postgres@127.0.0.1:1/nowhere"))
    assert_problem(any_app.test_client().get("/api/toys"), 503, "SERVICE_UNAVAILABLE")


@pytest.mark.usefixtures("any_app")
def test_dropping_a_connection_that_works_does_nothing() -> None:
    before = database.connection()
    drop_broken(database)
    assert database.connection() is before


SLOW = """
import time


def up(migrator, db):
    db.execute_sql("CREATE TABLE slow (id INTEGER)")
    time.sleep(0.2)
"""


def test_racing_processes_migrate_once(empty_database_url: str, tmp_path: Path) -> None:
    """The locks are between connections and open files: threads that share neither stand for processes."""
    (tmp_path / "0001_slow.py").write_text(SLOW)
    applied = in_threads(4, partial(_migrate, empty_database_url, tmp_path))
    assert sorted(applied) == [[], [], [], ["0001_slow"]]


def test_racing_processes_make_a_sqlite_file_once(tmp_path: Path) -> None:
    (tmp_path / "0001_quick.py").write_text(SLOW.replace("0.2", "0"))
    for attempt in range(60):
        address = f"sqlite:///{tmp_path}/{attempt}.db"
        applied = in_threads(8, partial(_migrate, address, tmp_path))
        assert sum(map(len, applied)) == 1


def _migrate(address: str, migrations: Path, _index: int) -> list[str]:
    return migrate(connect(address), migrations)


BROKEN = """
def up(migrator, db):
    db.execute_sql("CREATE TABLE half (id INTEGER)")
    db.execute_sql("INSERT INTO whole VALUES (1)")
    raise RuntimeError("broken migration")
"""


def test_a_failed_migration_leaves_nothing(fresh: peewee.Database, tmp_path: Path) -> None:
    (tmp_path / "0001_good.py").write_text(
        "def up(migrator, db):\n    db.execute_sql('CREATE TABLE whole (id INTEGER)')"
    )
    (tmp_path / "0002_broken.py").write_text(BROKEN)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken migration"):
            migrate(fresh, tmp_path)
        assert fresh.is_closed()
    assert set(fresh.get_tables()) == {"schema_migration", "whole"}
    assert fresh.execute_sql("SELECT COUNT(*) FROM whole").fetchone() == (0,)


@pytest.mark.parametrize("empty_database_url", ["postgres"], indirect=True)
def test_a_migration_holds_nobody_up_while_a_transaction_holds_it_up(
    fresh: peewee.Database, empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits for a lock on a table keeps all others from it who come later."""
    monkeypatch.setattr(connection, "BUSY_TIMEOUT", 200)
    step = "def up(migrator, db):\n    db.execute_sql('{}')"
    (tmp_path / "0001_new.py").write_text(step.format("CREATE TABLE whole (id INTEGER)"))
    migrate(fresh, tmp_path)
    (tmp_path / "0002_wider.py").write_text(step.format("ALTER TABLE whole ADD size INTEGER"))
    with psycopg.connect(empty_database_url) as reader:
        reader.execute("SELECT * FROM whole")
        with pytest.raises(peewee.OperationalError, match="lock timeout"):
            migrate(fresh, tmp_path)
    assert migrate(fresh, tmp_path) == ["0002_wider"]


def test_the_models_match_the_migrations(fresh: peewee.Database) -> None:
    assert_models_match_migrations(MODELS, fresh, MIGRATIONS)


def other_toy(**changed: peewee.Field) -> type[peewee.Model]:
    meta = {"database": Database(), "table_name": "toy", "indexes": Toy._meta.indexes}
    return type("OtherToy", (Toy,), changed | {"Meta": type("Meta", (), meta)})


@pytest.mark.parametrize(
    "changed",
    [
        {"extra": peewee.IntegerField()},
        {"price": peewee.BigIntegerField(null=True)},
        {"price": peewee.TextField()},
        {"price": peewee.BigIntegerField(index=True)},
        {"name": peewee.CharField(max_length=200)},
        {"owner_id": peewee.ForeignKeyField("self")},
    ],
)
def test_models_that_do_not_match_are_found(fresh: peewee.Database, changed: dict[str, peewee.Field]) -> None:
    with pytest.raises(AssertionError):
        assert_models_match_migrations([other_toy(**changed), *MODELS[1:]], fresh, MIGRATIONS)


def test_a_sqlite_file_is_for_its_owner_only(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path}/new/toys.db")
    with database.connection_context():
        database.execute_sql("CREATE TABLE t (x)")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new").iterdir()}
    assert modes == {"toys.db": 0o600, "toys.db-wal": 0o600, "toys.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


MOMENTS = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, 0, 0, 0, 1, UTC),
    datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=13))),
    datetime(2026, 1, 1, 1, 0, 0, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
]


def test_moments_come_back_and_sort(fresh: peewee.Database) -> None:
    class Moment(peewee.Model):
        at = TimestampField(null=True)

        class Meta:
            database = fresh

    Moment.create_table()
    Moment.insert_many([(moment,) for moment in reversed(MOMENTS)], fields=[Moment.at]).execute()
    found = [row.at for row in Moment.select().order_by(Moment.at)]
    assert found == MOMENTS
    assert all(moment.utcoffset() == timedelta(0) for moment in found)
    assert Moment.select().where(Moment.at > MOMENTS[2]).count() == 4
    Moment.create(at=None)
    assert Moment.get(Moment.at.is_null()).at is None
    with pytest.raises(ValueError, match="time zone"):
        Moment.create(at=datetime(2026, 1, 1))  # noqa: DTZ001


@pytest.mark.usefixtures("any_app")
def test_get_or_404_returns_the_row_or_refuses() -> None:
    toy = make_toy()
    assert get_or_404(Toy, Toy.name == "train") == toy
    assert get_or_404(Toy.select().where(Toy.price == 1), Toy.id == toy.id) == toy
    with pytest.raises(Problem, match="NOT_FOUND"):
        get_or_404(Toy.select().where(Toy.price == 2), Toy.id == toy.id)


def test_a_service_is_ready_while_its_parts_work(any_client: FlaskClient) -> None:
    assert any_client.get("/healthz").get_json()["data"] == {"status": "ok"}
    data = any_client.get("/readyz").get_json()["data"]
    assert (data["status"], data["checks"].keys(), data["checks"]["database"]["status"]) == ("ok", {"database"}, "ok")


def test_a_service_with_a_broken_part_is_alive_but_not_ready() -> None:
    app = Flask("ill")
    app.register_blueprint(health.blueprint({"good": lambda: None, "bad": lambda: 1 / 0}))
    client = app.test_client()
    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    data = response.get_json()["data"]
    assert data["status"] == "down"
    assert {name: check["status"] for name, check in data["checks"].items()} == {"good": "ok", "bad": "down"}
    assert all(check["latencyMs"] >= 0 for check in data["checks"].values())
