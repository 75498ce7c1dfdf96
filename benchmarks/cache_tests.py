"""Show how the gateway's cache does in the public suite of tests for HTTP caches, `http-tests/cache-tests`.

    git clone https://github.com/http-tests/cache-tests && (cd cache-tests && npm install)
    python -m benchmarks.cache_tests cache-tests [TEST ...]

Between the suite's client and its server stands the gateway's own code with the policies left out that are none of
the cache's (limits, rights), and with every path a cached one. Each test is a service of its own, as a write there
forgets all that its service has answered.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.gateway import middleware
from services.gateway.cache.middleware import response_cache
from services.gateway.cache.policy import Rules
from services.gateway.cache.store import Store
from services.gateway.http import headers
from services.gateway.http.forwarded import proxies
from services.gateway.proxy.circuit_breaker import CircuitBreaker
from services.gateway.proxy.connection_pool import ConnectionPool
from services.gateway.request_context import KEY, RequestContext
from services.gateway.routes import Node, RouteTable, row
from shared.identity.credentials import has_credentials
from shared.problems import Problem
from shared.server.run import serve
from shared.settings import BaseConfig
from shared.telemetry.request_id import WsgiApp, with_request_id
from tests.ports import free_port
from tests.waiting import wait_until

METHODS = "GET POST PUT PATCH DELETE M-SEARCH FOO"


class AllBut(frozenset[str]):
    """All names but these: the suite makes up headers of its own, which the product neither passes on nor knows."""

    def __contains__(self, name: object) -> bool:
        return not super().__contains__(name)


ONE_HOPS = AllBut(headers.HOP_BY_HOP | {"expect", "host"})
ONE_CLIENTS = AllBut(
    headers.HOP_BY_HOP
    | {"*", "authorization", "cookie", "expect", "host", "if-modified-since", "if-none-match", "origin", "range"}
)
AS_THEY_COME = Rules(frozenset(), ONE_CLIENTS, lambda answered: answered)
LIST = """
import suites from './tests/index.mjs'
const named = suites.flatMap(suite => suite.tests.map(test => ({ ...test, suite: suite.id })))
const ours = named.filter(test => !test.browser_only)
console.log(JSON.stringify(ours.map(({ id, suite, kind }) => ({ id, suite, kind: kind ?? 'required' }))))
"""


class Anything(RouteTable):
    """Send all paths on: those of a test to a service of that name, whose answers are kept."""

    def __init__(self) -> None:
        super().__init__(())

    def find(self, path: str) -> Node | None:
        kind, _, test = path[1:].partition("/")
        node = Node()
        node.add(row(METHODS, path, test.partition("/")[0] if kind == "test" else kind, cached=kind == "test"))
        return node


def gateway(origin: str) -> WsgiApp:
    """Return the gateway's cache before that address, in the layers that it needs."""
    pool = ConnectionPool("origin", origin)
    pools: Mapping[str, ConnectionPool] = defaultdict(lambda: pool)
    breakers: Mapping[str, CircuitBreaker] = defaultdict(lambda: CircuitBreaker("origin"))
    app = middleware.proxy(lambda *_: (), pools, breakers, proxies(()), Path(tempfile.gettempdir()))
    app = response_cache(app, Store(64 * 1024 * 1024), lambda *_: None, AS_THEY_COME)
    app = middleware.find_route(app, Anything())
    return with_request_id(open_visit(app))


def open_visit(app: WsgiApp) -> WsgiApp:
    """Do what the first layer does, without the headers that it puts on answers."""

    def layer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        authorization, cookies = environ.get("HTTP_AUTHORIZATION", ""), environ.get("HTTP_COOKIE", "")
        environ[KEY] = RequestContext("127.0.0.1", has_credentials(authorization, cookies), [])
        try:
            return app(environ, start_response)
        except Problem as problem:
            status, answered, body = problem.answer("", "", "")
            start_response(status, answered)
            return [body]

    return layer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cache_tests")
    parser.add_argument("folder", type=Path)
    parser.add_argument("tests", nargs="*")
    parser.add_argument("--serve", type=int, nargs=2, metavar=("PORT", "ORIGIN"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.serve:
        port, origin = wanted.serve
        headers.FORWARDED = ONE_HOPS
        config = BaseConfig.load({"APP_ENV": "test", "LOG_LEVEL": "error"})
        serve("gateway", lambda: gateway(f"http://127.0.0.1:{origin}"), config, port=port, events=True)
        return
    port, origin = free_port(), free_port()
    own = [sys.executable, "-m", "benchmarks.cache_tests", str(wanted.folder), "--serve", str(port), str(origin)]
    environ = os.environ | {"npm_config_protocol": "http", "npm_config_port": str(origin)}
    environ |= {
        "npm_config_base": f"http://127.0.0.1:{port}",
        "npm_package_config_id": "",
        "npm_config_pidfile": os.devnull,
    }
    with running(own), running(_node("server/server"), cwd=wanted.folder, env=environ, stdout=subprocess.DEVNULL):
        wait_until(lambda: answers(port) and answers(origin), 20)
        for test in wanted.tests:
            subprocess.run(_node("cli"), cwd=wanted.folder, env=environ | {"npm_config_id": test}, check=True)
        if not wanted.tests:
            results = subprocess.run(_node("cli"), cwd=wanted.folder, env=environ, check=True, stdout=subprocess.PIPE)
            report(wanted.folder, json.loads(results.stdout[results.stdout.index(b"{") :]))


def _node(name: str) -> list[str]:
    return ["node", "--no-warnings", f"test-engine/{name}.mjs"]


@contextmanager
def running(command: list[str], **details: Any) -> Iterator[None]:
    """Run a program until the end of the block."""
    process = subprocess.Popen(command, **details)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def report(folder: Path, results: dict[str, Any]) -> None:
    """Print what failed, and how many of each kind passed."""
    listed = subprocess.run(["node", "--input-type=module", "-e", LIST], cwd=folder, check=True, stdout=subprocess.PIPE)
    passed, known = Counter[str](), Counter[str]()
    for test in json.loads(listed.stdout):
        known[test["kind"]] += 1
        passed[test["kind"]] += results.get(test["id"]) is True
        if results.get(test["id"]) is not True:
            print(f"{test['kind']:<9}{test['suite']:<20}{test['id']:<44}{results.get(test['id'])}")
    for kind, number in known.items():
        print(f"{kind}: {passed[kind]} of {number}")


if __name__ == "__main__":
    main()
