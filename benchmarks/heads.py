"""Measure what the head of a request costs, from its bytes to its WSGI environment, with our parser and gunicorn's.

    python -m benchmarks.heads [--heads 2000] [--rounds 30]

gunicorn's C parser is measured where `gunicorn_h1c` is installed. Rounds go through all parsers in turn; each figure is
the best of them.
"""

import argparse
import importlib.util
import socket
import time
from collections.abc import Callable
from itertools import repeat
from typing import Any

from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create

from benchmarks.load import http
from shared.server.request_reader import ReadTimeouts, Request, Unreader
from shared.server.response_writer import environment

CLIENT = SERVER = ("127.0.0.1", 8000)
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Connection": "keep-alive",
    "Cookie": f"authToken={'a' * 600}; csrfToken={'b' * 64}",
    "Sec-Fetch-Dest": "empty",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Site": "same-origin",
    "Referer": "http://localhost:3000/posts",
}
HEADS = {
    "2 headers": http("GET", "/api/posts?limit=20"),
    "12 headers of a browser": http("GET", "/api/posts?page=1&limit=20", headers=BROWSER),
}
Parse = Callable[[bytes], Callable[[], object]]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads")
    parser.add_argument("--heads", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=30)
    wanted = parser.parse_args()
    sock, _peer = socket.socketpair()
    parsers = {"ours": _ours(sock), "gunicorn, Python": _gunicorn(sock, "python")}
    if importlib.util.find_spec("gunicorn_h1c"):
        parsers["gunicorn, C"] = _gunicorn(sock, "fast")
    for name, content in HEADS.items():
        costs: dict[str, list[float]] = {each: [] for each in parsers}
        for _ in range(wanted.rounds):
            for each, begin in parsers.items():
                costs[each].append(_cost(begin(content), wanted.heads))
        print(f"{name:26}", *(f"{each} {min(measured):.1f} µs" for each, measured in costs.items()), sep="  ")


def _cost(parse: Callable[[], object], heads: int) -> float:
    """Return the µs of CPU that one head takes."""
    began = time.process_time()
    for _ in range(heads):
        parse()
    return (time.process_time() - began) / heads * 1e6


def _ours(sock: socket.socket) -> Parse:
    unreader = Unreader(sock, ReadTimeouts())

    def begin(content: bytes) -> Callable[[], object]:
        def parse() -> object:
            unreader.unread(content)
            request = Request(unreader)
            request.parse(unreader.read_head() or b"")
            return environment(request, sock, CLIENT, SERVER)

        return parse

    return begin


def _gunicorn(sock: socket.socket, kind: str) -> Parse:
    config = Config()
    config.set("http_parser", kind)
    config.set("forwarded_allow_ips", "")
    config.__dict__.update({name: setting.get() for name, setting in config.settings.items()})  # as a server of ours

    def begin(content: bytes) -> Callable[[], object]:
        requests: Any = RequestParser(config, repeat(content), CLIENT)
        return lambda: create(next(requests), sock, CLIENT, SERVER, config)

    return begin


if __name__ == "__main__":
    main()
