"""Rows that have served are deleted without a wait for anybody's lock."""

import pytest

from shared.database.connection import is_postgres
from shared.database.locking import delete_unlocked, locking
from shared.ids import new_id
from tests.shared.conftest import in_threads
from tests.shared.toys.models import Toy, database

pytestmark = pytest.mark.usefixtures("app")


def make_toys() -> None:
    for price in range(5):
        Toy.create(name=f"toy {price}", price=price, owner_id=new_id())


def left() -> list[int]:
    return [toy.price for toy in Toy.select().order_by(Toy.price)]


def test_as_many_rows_are_deleted_as_wanted() -> None:
    make_toys()
    assert delete_unlocked(Toy, Toy.price < 4, limit=3) == 3
    assert delete_unlocked(Toy, Toy.price < 4) == 1
    assert left() == [4]


def test_a_locked_row_is_passed_over() -> None:
    if not is_postgres(database):
        pytest.skip("SQLite locks the whole database")
    make_toys()
    with database.atomic():
        assert len(list(locking(Toy.select().where(Toy.price == 2)))) == 1
        assert in_threads(1, lambda _: delete_unlocked(Toy, Toy.price < 4)) == [3]
    assert left() == [2, 4]
