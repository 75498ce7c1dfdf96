"""Two services that do nothing, for tests of the processes around them."""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any


def toy(health: str) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """Return a WSGI application that is ready at `health`, tells its processes at /processes, and can sleep."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        answers = {health: lambda: "ready", "/processes": lambda: f"{os.getppid()} {os.getpid()}", "/sleep": _sleep}
        answer = answers.get(environ["PATH_INFO"])
        body = answer().encode() if answer else b""
        start_response("200 OK" if answer else "404 Not Found", [("Content-Length", str(len(body)))])
        return [body]

    return app


def _sleep() -> str:
    time.sleep(1)
    return "slept"
