"""Slow transactions, so that two of them take turns and would deadlock if they locked rows in different orders."""

import time
from typing import Any

import peewee
import pytest

_ORDINARY = peewee.Database.execute_sql


@pytest.fixture
def slow_statements(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Pause after each statement that locks rows, while the one item is true."""
    is_slow = [False]

    def execute_sql(self: Any, sql: str, *args: Any, **kwargs: Any) -> Any:
        result = _ORDINARY(self, sql, *args, **kwargs)
        if is_slow[0] and (sql.startswith(("UPDATE", "DELETE", "INSERT")) or "FOR UPDATE" in sql):
            time.sleep(0.01)
        return result

    monkeypatch.setattr(peewee.Database, "execute_sql", execute_sql)
    return is_slow
