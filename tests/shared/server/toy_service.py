"""A small service for tests of the server: `python -m … threads|events <descriptor of its socket>` serves it."""

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Flask, Response, request

from shared.concurrency import Bulkhead
from shared.event_loop import yield_if_due
from shared.server import run
from shared.server.admission import Admission, expensive
from shared.server.error_response import tell
from shared.server.lifecycle import KEY, Lifecycle
from shared.server.request_reader import ReadTimeouts
from shared.server.run import serve
from shared.settings import BaseConfig
from shared.telemetry.request_id import with_request_id
from shared.web import error_handlers

SHORT = ReadTimeouts(head=0.5, body=0.5, write=1.0, linger=0.5)
PATIENCE = 2.0  # seconds that an expensive request waits for a place
FAULTS = {
    "/raise": RuntimeError("the secret of the toy"),
    "/time-out": TimeoutError(),
    "/unreachable": ConnectionRefusedError(),
    "/io": OSError("the secret of the toy"),
}
ANSWERS = {
    "/bad-header": ("200 OK", [("X-Secret", "a\r\nb: c")], b""),
    "/hop-by-hop": ("200 OK", [("Keep-Alive", "secret"), ("content-length", "2"), ("X-Kept", " kept ")], b"ok"),
    "/no-content": ("204 No Content", [("Content-Length", "5"), ("X-Kept", "kept")], b"abcde"),
    "/too-short": ("200 OK", [("Content-Length", "5")], b"abc"),
    "/too-long": ("200 OK", [("Content-Length", "2")], b"abc"),
}
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def load() -> Flask:  # noqa: C901 (one small view after the other)
    time.sleep(float(os.environ.get("TOY_LOADING", "0")))
    import urllib3  # where an application imports it: before gevent's patches if it is loaded before them

    context = urllib3.util.create_urllib3_context()
    started: list[int] = []
    app = Flask("toy")
    error_handlers.init_app(app)
    app.wsgi_app = with_request_id(_broken(app.wsgi_app))  # type: ignore[assignment, method-assign]
    app.extensions[KEY] = service = Lifecycle()
    service.refuse = _refuse
    service.on_start = [lambda: started.append(os.getpid())]
    service.on_exit = [lambda: 1 / 0, lambda: print("toy: stopped", flush=True)]

    @app.route("/", methods=METHODS, defaults={"path": ""})
    @app.route("/<path:path>", methods=METHODS)
    def echo(path: str) -> dict[str, Any]:
        """Read the body and say what arrived."""
        headers = {key: value for key, value in request.environ.items() if key.startswith("HTTP_")}
        about = {"scheme": request.scheme, "script": request.environ["SCRIPT_NAME"], "headers": headers}
        return {"path": request.path, "length": len(request.get_data()), **about}

    @app.post("/ignore")
    def ignore() -> tuple[str, int]:
        return "not read", 401

    @app.get("/sleep/<float:seconds>")
    def sleep(seconds: float) -> str:
        time.sleep(seconds)
        return "slept"

    @app.get("/turning/<float:seconds>")
    def turning(seconds: float) -> str:
        """Compute in steps, and give way to others between them."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            _compute(0.005)
            yield_if_due()
        return "turned"

    @app.get("/blocked/<float:seconds>")
    def blocked(seconds: float) -> str:
        """Compute without a look at anybody else."""
        _compute(seconds)
        return "blocked"

    @app.get("/stream")
    def stream() -> Response:
        def blocks() -> Iterator[bytes]:
            for _ in range(3):
                time.sleep(0.3)
                yield b"x" * 10

        return Response(blocks())

    stopping = threading.Event()
    service.on_stop = [stopping.set]

    @app.get("/endless")
    def endless() -> Response:
        def blocks() -> Iterator[bytes]:
            yield b"begun"
            stopping.wait()
            yield b"ended"

        return Response(blocks())

    @app.get("/large")
    def large() -> Response:
        return Response(b"x" * 65536 for _ in range(1024))

    @app.get("/processes")
    def processes() -> dict[str, Any]:
        return {"worker": os.getpid(), "master": os.getppid(), "started": started}

    gate, under_way = threading.Event(), list[str]()

    @app.post("/expensive/<path:name>")
    @expensive
    def work(name: str) -> str:
        """Work until the gate is opened."""
        under_way.append(request.headers["X-Forwarded-For"])
        gate.wait(60)
        under_way.remove(request.headers["X-Forwarded-For"])
        return "worked"

    @app.route("/gate", methods=["GET", "POST", "DELETE"])
    def look() -> dict[str, Any]:
        """Return the addresses of the expensive requests under way; POST opens the gate, DELETE closes it."""
        if request.method == "POST":
            gate.set()
        if request.method == "DELETE":
            gate.clear()
        return {"underWay": sorted(under_way)}

    service.admission = Admission(app, Bulkhead(3, per_client=2, patience=PATIENCE, detail="Busy."))

    @app.get("/tls/<int:port>")
    def tls(port: int) -> str:
        """Ask a TLS server on this machine, whose certificate `?ca=` verifies."""
        context.load_verify_locations(request.args["ca"])
        with urllib3.PoolManager(ssl_context=context, retries=False, timeout=5) as pool:
            return pool.request("GET", f"https://localhost:{port}/").data.decode()

    return app


def _broken(app: Any) -> Any:
    """Add what a Flask view cannot do: break in front of every error handler."""

    def wrapped(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in FAULTS:
            raise FAULTS[path]
        if path in ANSWERS:
            status, headers, body = ANSWERS[path]
            start_response(status, headers)
            return [body]
        if path == "/head-first":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return _slowly(b"", b"", b"late")
        if path == "/breaks-off":
            start_response("200 OK", [])
            return _breaking()
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    return wrapped


def _refuse(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Refuse as applications with headers of their own do, and break for one path."""
    if environ["PATH_INFO"] == "/breaks-the-refusal":
        raise RuntimeError("the secret of the toy")
    return with_request_id(tell)(environ, start_response)


def _breaking() -> Iterator[bytes]:
    yield b"begun"
    raise RuntimeError("the secret of the toy")


def _compute(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def _slowly(*pieces: bytes) -> Iterator[bytes]:
    for piece in pieces:
        yield piece
        time.sleep(0.2)


def main() -> None:
    kind, descriptor = sys.argv[1], int(sys.argv[2])
    os.dup2(descriptor, 3)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
    config = BaseConfig.from_environment()
    run.BLOCKED = int(os.environ.get("TOY_BLOCKED", run.BLOCKED))
    run.GRACE = int(os.environ.get("TOY_GRACE", run.GRACE))
    serve("toy", load, config, port=1, events=kind == "events", patience=SHORT, drain=30)


if __name__ == "__main__":
    main()
