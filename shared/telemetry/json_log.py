"""Log JSON lines to standard error: one for each request, and every other record."""

import json
import logging
import sys
import traceback
from contextlib import suppress
from typing import Any

import orjson

from shared import clock
from shared.telemetry import metrics

_levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON object; `extra={"fields": {…}}` adds members."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        return self.line(record.levelname.lower(), record.getMessage(), fields)

    def line(self, level: str, message: str, fields: dict[str, Any]) -> str:
        """Return the line of something that happens now."""
        line = {"time": clock.now(), "level": level, "service": self.service, "message": message, **fields}
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z).decode()
        except TypeError:  # lone surrogates, or integers beyond 64 bits
            return json.dumps(line, default=str)


class StandardError(logging.Handler):
    """Write to what standard error is at the moment, which tests and reloads exchange."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # noqa: BLE001 (a line that cannot be written never ends the request)
            self.handleError(record)


def configure(service: str, level: str) -> None:
    """Send every logger of the process to standard error as JSON lines.

    At `debug` only our own loggers say more: those of the libraries tell queries with their values, and headers.
    """
    handler = StandardError()
    handler.setFormatter(_formatter)
    _formatter.service = service
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(_levels[level], logging.INFO))
    logging.getLogger("postern").setLevel(_levels[level])


_formatter = JsonFormatter("")
_requests = logging.getLogger("postern.request")
QUIET_PATHS = frozenset(("/healthz", "/readyz", "/internal/feed"))


def log_request(environ: dict[str, Any], status: int, milliseconds: float) -> None:
    """Count a request and write its one line; never its query, headers or body, which may hold secrets.

    The line is written past the handlers, as records cost several times what it takes.
    """
    metrics.note_request(environ.get("postern.route"), environ.get("REQUEST_METHOD", ""), status, milliseconds)
    path = environ.get("PATH_INFO", "")
    level = logging.DEBUG if path in QUIET_PATHS and status < 400 else logging.INFO
    if not _requests.isEnabledFor(level):
        return
    fields = {
        "method": environ.get("REQUEST_METHOD", ""),
        "path": path if path.isascii() else path.encode("latin-1", "replace").decode("utf-8", "replace"),
        "route": environ.get("postern.route"),
        "status": status,
        "ms": round(milliseconds, 2),
        "user": environ.get("postern.user"),
        "requestId": environ.get("postern.request_id"),
    }
    line = _formatter.line("info" if level == logging.INFO else "debug", "request", fields)
    with suppress(Exception):  # a line that cannot be written never ends the request
        sys.stderr.write(f"{line}\n")
