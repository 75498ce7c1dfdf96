"""Turn what goes wrong with a database into the one error shape."""

import logging
import sqlite3

import peewee
from flask import Flask, Response

from shared.errors import respond
from shared.problems import Problem

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
    """Ask the client to come back when the database is busy or away; a query that is wrong stays wrong."""
    _logger.error("database error", exc_info=error)
    number = _first_number(error)
    if number in _DISK_FULL:
        return respond(Problem("STORAGE_FULL"))
    if isinstance(error, peewee.OperationalError | peewee.InterfaceError) and number != sqlite3.SQLITE_ERROR:
        return respond(Problem("SERVICE_UNAVAILABLE", "The database is not available."))
    return respond(Problem("INTERNAL_ERROR"))


def _first_number(error: BaseException | None) -> object:
    """Return the code of the error that came first: SQLite undoes on a full disk by itself, and the ROLLBACK fails."""
    number: object = None
    while error:
        number = getattr(error, "sqlite_errorcode", None) or getattr(error, "sqlstate", None) or number
        error = error.__context__
    return number
