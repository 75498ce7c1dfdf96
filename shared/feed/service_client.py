"""An HTTP client for calls between services, which carry INTERNAL_TOKEN."""

from typing import Any

import orjson
import urllib3
from werkzeug.http import parse_date

from shared import clock

BATCH = 500  # facts that are told at once
_DATE = "Date"  # of a response
_TIMEOUT = urllib3.Timeout(connect=1, read=5)


class GoneError(OSError):
    """What was asked for is not kept any more; `answer` says what is."""

    def __init__(self, answer: Any) -> None:
        super().__init__("it is gone")
        self.answer = answer


class InternalClient:
    """Ask another service for JSON over kept connections; OSError when there is no good answer."""

    def __init__(self, url: str, token: str = "") -> None:
        self._pool = urllib3.connection_from_url(url, maxsize=2, timeout=_TIMEOUT, retries=False)
        self.seconds_ahead = 0.0  # of the other service's clock, by its latest answer
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def get_json(self, path: str, query: dict[str, str] | None = None) -> Any:
        """Return the answer; raise GoneError for a 410."""
        answer = self._ask("GET", path, fields=query, headers=self._headers)
        try:
            content = orjson.loads(answer.data)
        except ValueError as error:
            raise OSError(f"{self._pool.host}:{self._pool.port}{path} answered no JSON") from error
        if answer.status == 410:
            raise GoneError(content)
        return content

    def post_json(self, path: str, data: Any) -> None:
        headers = self._headers | {"Content-Type": "application/json"}
        self._ask("POST", path, body=orjson.dumps(data), headers=headers)

    def _ask(self, method: str, path: str, **details: Any) -> urllib3.BaseHTTPResponse:
        try:
            answer = self._pool.request(method, path, **details)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{self._pool.host}:{self._pool.port} did not answer: {type(error).__name__}") from error
        if date := parse_date(answer.headers.get(_DATE)):
            self.seconds_ahead = (clock.now() - date).total_seconds()
        if answer.status not in (200, 204, 410):
            raise OSError(f"{self._pool.host}:{self._pool.port}{path} answered {answer.status}")
        return answer
