"""Map database errors to problems: disk full, database down, constraint violated."""

import logging
import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

import peewee
from flask import Flask, Response

from shared.problems import Problem
from shared.web.error_handlers import respond

_DISK_FULL = (sqlite3.SQLITE_FULL, "53100")
_logger = logging.getLogger("postern.errors")


def init_app(app: Flask) -> None:
    app.register_error_handler(peewee.DoesNotExist, _missing)
    app.register_error_handler(peewee.IntegrityError, _integrity)
    app.register_error_handler(peewee.DataError, _data)
    app.register_error_handler(peewee.DatabaseError, _database)
    app.register_error_handler(peewee.InterfaceError, _database)


def _missing(_error: peewee.DoesNotExist) -> Response:
    return respond(Problem("NOT_FOUND"))


def _integrity(error: peewee.IntegrityError) -> Response:
    _logger.info("integrity error", exc_info=error)
    return respond(Problem("CONFLICT"))


def _data(error: peewee.DataError) -> Response:
    """Refuse a value that the database cannot hold, such as a NUL in a path on PostgreSQL."""
    _logger.info("data error", exc_info=error)
    return respond(Problem("BAD_REQUEST", "A value is not one that can be stored."))


def _database(error: peewee.DatabaseError | peewee.InterfaceError) -> Response:
    """Return 503 or 507 for an outage of the database, otherwise 500."""
    if outage := outage_behind(error):
        _logger.error(outage.sentence)
        return respond(outage.problem)
    _logger.error("database error", exc_info=error)
    return respond(Problem("INTERNAL_ERROR"))


class Outage(NamedTuple):
    """A failure of the database server or its disk, not of the code."""

    problem: Problem
    sentence: str


def outage_behind(error: BaseException) -> Outage | None:
    """Return the outage that caused the error, None if the code may be wrong.

    The first cause counts. On a full disk SQLite ends the transaction by itself; then the ROLLBACK fails too, with
    "cannot rollback - no transaction is active".
    """
    failures = [cause for cause in _chain(error) if isinstance(cause, peewee.OperationalError | peewee.InterfaceError)]
    for failure in failures:
        if _number(failure) in _DISK_FULL:
            return Outage(Problem("STORAGE_FULL"), f"the disk is full: {_first_line(failure)}")
    if not failures or _number(failures[-1]) == sqlite3.SQLITE_ERROR:
        return None
    problem = Problem("SERVICE_UNAVAILABLE", "The database is not available.")
    return Outage(problem, f"the database is not available: {_first_line(failures[-1])}")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the exception and its causes, the first cause last."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def log_failure(logger: logging.Logger, what: str, error: BaseException) -> None:
    """Log one line about an outage, and a traceback of any other error."""
    if outage := outage_behind(error):
        logger.error("%s: %s", what, outage.sentence)
    else:
        logger.error("%s: %s", what, error, exc_info=error)


def _number(error: BaseException) -> object:
    """Return the database's own code of an error that peewee wraps."""
    driver = getattr(error, "orig", None)
    return getattr(driver, "sqlite_errorcode", None) or getattr(driver, "sqlstate", None)
