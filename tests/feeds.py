"""Feeds like those of other services, and the tables behind them, on a real port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from shared.clock import rfc3339

TOLD = datetime(2026, 1, 2, tzinfo=UTC)


class ServedFeed:
    """Facts of one service; each is told a second after the one before."""

    def __init__(self, source: str) -> None:
        self.events: list[dict[str, Any]] = []
        self.double = False  # tell every fact twice
        self.oldest = 0  # the number of the oldest fact that is kept
        self.tables: dict[str, list[dict[str, Any]]] = {}  # by path
        self.url = ""
        self._source = source

    def tell(self, type: str, subject: str, **data: Any) -> None:
        number = len(self.events) + 1
        moment = rfc3339(TOLD + timedelta(seconds=number))
        event = {"id": f"0-{number}", "source": f"/{self._source}", "type": type, "subject": subject, "time": moment}
        self.events.append({"specversion": "1.0"} | event | {"data": data})

    def forget(self) -> None:
        """Keep of all facts only the last, as a mark."""
        self.oldest = len(self.events)
        self.events[-1] |= {"type": "feed.pruned", "data": {}}

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        """Return status and JSON of the answer to a question."""
        if path in self.tables:
            after = query.get("after", [""])[0]
            rows = sorted(self.tables[path], key=lambda row: row["id"])
            return 200, [row for row in rows if row["id"] > after][:3]
        start = int(query.get("lastEventId", [""])[0].partition("-")[2] or 0)
        if start < self.oldest:
            return 410, {"oldest": f"0-{self.oldest}"}
        batch = self.events[start : start + 500]
        return 200, [event for event in batch for _ in range(2)] if self.double else batch

    @contextmanager
    def served(self) -> Iterator[None]:
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                status, answer = feed.answer(parts.path, parse_qs(parts.query))
                content = orjson.dumps(answer)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            self.url = f"http://127.0.0.1:{server.server_port}"
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
            thread.start()
            yield
            server.shutdown()
            thread.join()
