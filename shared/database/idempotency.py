"""Idempotency keys for POST requests (IETF draft `idempotency-key-header`).

Key, response and write are one transaction. If a request is cut off, either all of it has happened, and a retry gets
the same response byte for byte, or nothing has.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar, cast

import orjson
import peewee
from flask import Response, current_app, make_response, request
from werkzeug.exceptions import HTTPException

from shared import clock
from shared.database.connection import execute, is_postgres
from shared.database.fields import IdField, TimestampField
from shared.database.locking import delete_unlocked
from shared.problems import Problem
from shared.web.auth import require_user

KEPT = timedelta(hours=24)
NOBODY = ""  # in place of a user's id
HEADERS = ("Content-Type", "Location", "ETag", "Content-Security-Policy", "Cache-Tag")
_well_formed = re.compile(r"[\x21-\x7e]{1,255}").fullmatch
View = TypeVar("View", bound=Callable[..., Any])


class IdempotencyKeyColumns(peewee.Model):
    """The columns of a service's table of used keys with their responses."""

    user_id = IdField()
    key = peewee.CharField(max_length=255)
    fingerprint = peewee.CharField(max_length=64)
    status = peewee.SmallIntegerField()
    headers = peewee.TextField()
    body = peewee.BlobField()
    created_at = TimestampField(default=clock.now, index=True)

    class Meta:
        primary_key = peewee.CompositeKey("user_id", "key")


class Idempotency:
    """The used keys of one service; `accepts_key` decorates views that create resources."""

    def __init__(self, model: type[IdempotencyKeyColumns], database: peewee.DatabaseProxy) -> None:
        self._model = model
        self._table = model._meta.table_name
        self._database = database
        self._running: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def accepts_key(self, view: View, *, anybody: bool = False) -> View:
        """Decorate a view to accept Idempotency-Key, below the decorators of its arguments.

        With `anybody` the view needs no signed-in user. A key then counts with the same body only, so that two clients
        with the same key by chance do not disturb each other.
        """

        @wraps(view)
        def once(*args: Any, **kwargs: Any) -> Any:
            return self.run_once(lambda: view(*args, **kwargs), anybody=anybody)

        return cast(View, once)

    def run_once(self, view: Callable[[], Any], content: bytes | None = None, *, anybody: bool = False) -> Any:
        """Run the view, or return the stored response to the same key and body.

        `content` replaces a body that was streamed and cannot be read again. Raises BAD_REQUEST, CONFLICT or
        IDEMPOTENCY_KEY_REUSED.
        """
        key = request.headers.get("Idempotency-Key")
        if key is None:
            return view()
        if not _well_formed(key):
            raise Problem("BAD_REQUEST", "Idempotency-Key must be 1 to 255 visible ASCII characters.")
        fingerprint = _fingerprint(content)
        if anybody:
            user_id, key = NOBODY, hashlib.sha256(f"{key} {fingerprint}".encode()).hexdigest()
        else:
            user_id = require_user().user_id
        with self._claim(user_id, key), self._database.atomic():
            self._lock_key(user_id, key)
            return self._answer(user_id, key, fingerprint, lambda: make_response(view()))

    @contextmanager
    def _claim(self, user_id: str, key: str) -> Iterator[None]:
        """Raise CONFLICT if the first request with this key still runs in this process."""
        with self._lock:
            if (user_id, key) in self._running:
                raise Problem("CONFLICT", "A request with this Idempotency-Key still runs.")
            self._running.add((user_id, key))
        try:
            yield
        finally:
            with self._lock:
                self._running.discard((user_id, key))

    def _lock_key(self, user_id: str, key: str) -> None:
        """Raise CONFLICT if the first request with this key runs in another process; SQLite has one writer anyway."""
        if is_postgres(self._database):
            digest = hashlib.blake2b(f"{user_id} {key}".encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "big", signed=True)
            if not self._database.execute_sql("SELECT pg_try_advisory_xact_lock(%s)", (number,)).fetchone()[0]:
                raise Problem("CONFLICT", "A request with this Idempotency-Key still runs.")

    def _answer(self, user_id: str, key: str, fingerprint: str, run: Callable[[], Response]) -> Response:
        db, table, now = self._database, self._table, clock.now()
        delete_unlocked(self._model, self._model.created_at < now - KEPT)
        find = f"SELECT fingerprint, status, headers, body FROM {table} WHERE user_id = ? AND key = ?"  # noqa: S608
        stored = execute(db, find, (user_id, key)).fetchone()
        if stored is None:
            response = self._run(run)
            headers = orjson.dumps([(n, response.headers[n]) for n in HEADERS if n in response.headers]).decode()
            values = (user_id, key, fingerprint, response.status_code, headers, response.get_data(), clock.rfc3339(now))
            columns = "user_id, key, fingerprint, status, headers, body, created_at"
            execute(db, f"INSERT INTO {table} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", values)  # noqa: S608
            return response
        made_for, status, headers, body = stored
        if made_for != fingerprint:
            raise Problem("IDEMPOTENCY_KEY_REUSED")
        return Response(bytes(body), status, [*orjson.loads(headers), ("Idempotency-Replayed", "true")])

    def _run(self, run: Callable[[], Response]) -> Response:
        """Run the view in a savepoint, so that a refusal undoes its writes but is stored itself."""
        try:
            with self._database.atomic():
                return run()
        except (Problem, HTTPException, peewee.IntegrityError, peewee.DoesNotExist) as error:
            refusal = make_response(current_app.handle_user_exception(error))
            if refusal.status_code >= 500 or refusal.status_code == 429:
                raise
            return refusal


def _fingerprint(content: bytes | None) -> str:
    request_line = f"{request.method} {request.path}?{request.query_string.decode('latin-1')}\n"
    body = request.get_data(cache=True) if content is None else content
    return hashlib.sha256(request_line.encode() + body).hexdigest()
