"""What tests of several services assert in the same words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import peewee

from shared.database.connection import is_postgres, migrate
from shared.problems import CODES, CONTENT_TYPE

MEMBERS = {"success", "type", "title", "status", "detail", "instance", "code", "requestId"}
EXTRAS = {"errors", "retryAfter", "allowedMethods", "allowedDomains", "allowedTypes", "maxSize", "violated-policies"}
NOBODY = "01980000-0000-7000-8000-000000000000"  # a well-formed id of nothing, the same in every run
INSIDE = ("Traceback", "site-packages", "sqlite", "psycopg", "peewee", "SELECT ", "INSERT ", ".py")


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Assert that a Flask answer is an error in the one shape and says nothing of the inside; return its body."""
    assert response.status_code == status, response.get_data(as_text=True)
    assert response.headers.getlist("Content-Type") == [CONTENT_TYPE]
    body: dict[str, Any] = response.get_json(force=True)
    assert set(body) >= MEMBERS
    assert set(body) - MEMBERS <= EXTRAS
    assert (body["success"], body["status"], body["code"]) == (False, status, code)
    assert body["type"].endswith(f"/api/errors/{code}")
    assert body["title"] == CODES[code].title
    assert body["detail"]
    assert body["instance"].startswith("/")
    assert body["requestId"]
    assert response.headers.getlist("X-Request-ID") == [body["requestId"]]
    text = response.get_data(as_text=True)
    assert not [word for word in INSIDE if word in text]
    _assert_headers(response, body)
    return body


def _assert_headers(response: Any, body: dict[str, Any]) -> None:
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if body["status"] == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    if body["status"] == 405:
        assert response.headers["Allow"] == ", ".join(body["allowedMethods"])
    if body["status"] in (429, 503):
        assert int(response.headers["Retry-After"]) >= body["retryAfter"] > 0
    for messages in body.get("errors", {}).values():
        assert messages
        assert all(isinstance(message, str) for message in messages)


def assert_models_match_migrations(
    models: Sequence[type[peewee.Model]],
    database: peewee.Database,
    migrations: Path,
    besides: tuple[str, ...] = (),
) -> None:
    """Assert that the migrations make, in an empty database, exactly the tables that the models would make.

    `besides` are beginnings of the names of tables that have no model, such as those of a full-text index.
    """
    migrate(database, migrations)
    with database.connection_context(), database.bind_ctx(models):
        tables = {model._meta.table_name for model in models}
        others = ("schema_migration", *besides)
        assert {name for name in database.get_tables() if not name.startswith(others)} == tables
        migrated = _schema(database, tables)
        database.drop_tables(models, cascade=is_postgres(database))
        database.create_tables(models)
        assert migrated == _schema(database, tables)


def _schema(database: peewee.Database, tables: set[str]) -> dict[str, Any]:
    return {
        table: {
            "columns": {(c.name, c.data_type, c.null, c.primary_key, c.default) for c in database.get_columns(table)},
            "key": database.get_primary_keys(table),
            "indexes": {
                (tuple(i.columns), i.unique)
                for i in database.get_indexes(table)
                if tuple(i.columns) != tuple(database.get_primary_keys(table))
            },
            "references": {(f.column, f.dest_table, f.dest_column) for f in database.get_foreign_keys(table)},
        }
        for table in tables
    }
