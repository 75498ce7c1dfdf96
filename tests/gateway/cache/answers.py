"""Answers that tell how often a service was asked, and what tests of the cache share."""

import threading
from collections.abc import Callable
from typing import Any

from tests.gateway.upstreams import Behaviour, Line, response
from tests.gateway.wsgi_client import Response

SHARED = "Cache-Control: public, s-maxage=60"
URL = "/api/posts"


class Clock:
    """The cache's clock, which a test moves."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> float:
        return 1000 + self.passed


def numbered(*headers: str, status: str = "200 OK") -> Behaviour:
    """Answer the nth request with n, and one that has seen it already with 304."""
    etag = next((header[6:] for header in headers if header.startswith("ETag: ")), None)

    def behave(line: Line) -> None:
        while request := line.read():
            body = str(len(line.upstream.received)).encode()
            if etag and request.header("if-none-match") == etag:
                line.send("\r\n".join(("HTTP/1.1 304 Not Modified", *headers)).encode() + b"\r\n\r\n")
            elif request.method == "HEAD":
                line.send(response(body, status, *headers).removesuffix(body))
            else:
                line.send(response(body, status, *headers))

    return behave


def seen(answer: Response) -> tuple[bytes, str | None]:
    return answer.body, answer.header("X-Cache")


def at_once(count: int, call: Callable[[], Any]) -> list[Any]:
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(call())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == count
    return results
