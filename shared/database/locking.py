"""Row locks (`SELECT … FOR UPDATE`), and deletion that skips locked rows (`SKIP LOCKED`)."""

from typing import Any

import peewee

from shared.database.connection import Row, is_postgres


def locking(query: "peewee.ModelSelect[Row]") -> "peewee.ModelSelect[Row]":
    """Lock the selected rows until the transaction ends; SQLite has one writer at a time anyway."""
    return query.for_update() if is_postgres(query.model._meta.database) else query


def delete_unlocked(model: type[peewee.Model], condition: Any, limit: int | None = None) -> int:
    """Delete expired rows; skip those that another transaction has locked. Return the number of deleted rows.

    Such a deletion meets rows of many users in any order. If it waited for locks, it could deadlock with any writer.
    """
    if is_postgres(model._meta.database):
        address = peewee.SQL("ctid")
        some: Any = model.select(address).where(condition).limit(limit).for_update(skip_locked=True)
        condition = address == peewee.fn.ANY(peewee.fn.ARRAY(some))
    elif limit:
        address = peewee.SQL("rowid")
        condition = address.in_(model.select(address).where(condition).limit(limit))
    return int(model.delete().where(condition).execute())
