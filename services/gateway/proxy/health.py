"""Ask every service how it is, and say how the whole is."""

import threading
import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from services.gateway.proxy.circuit_breaker import CircuitBreaker
from services.gateway.proxy.connection_pool import ConnectionPool
from services.gateway.proxy.forward import UpstreamRequest, forward
from services.gateway.routes import SERVICES
from shared import clock
from shared.problems import Problem

VERSION: str = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["version"]
ESSENTIAL = {name for name, service in SERVICES.items() if service.essential}
KEEP = 2.0
TIMEOUT = 2.0
TOLD = ("storage",)  # parts of services that are shown beside them


class Health:
    """The state of the parts, asked at once and at most every two seconds, whoever asks.

    `extra` are parts besides the services: each check returns whether its part works. The services are asked past
    their breakers, whose states are told.
    """

    def __init__(
        self,
        pools: Mapping[str, ConnectionPool],
        breakers: Mapping[str, CircuitBreaker],
        extra: Mapping[str, Callable[[], bool]],
    ) -> None:
        self._breakers = breakers
        self._told: dict[str, Any] = {}
        self._checks = {name: _ready(pool, self._told) for name, pool in pools.items()} | dict(extra)
        self._started = time.monotonic()
        self._asked_at = float("-inf")
        self._known: dict[str, Any] = {}
        self._lock = threading.Lock()

    def report(self) -> dict[str, Any]:
        """Return `{status, timestamp, version, uptime, checks}`; uptime in seconds."""
        with self._lock:
            if time.monotonic() - self._asked_at >= KEEP:
                self._known = self._ask()
                self._asked_at = time.monotonic()
            return self._known

    def _ask(self) -> dict[str, Any]:
        results: dict[str, dict[str, Any]] = {}
        self._told.clear()
        askers = [threading.Thread(target=_measure, args=(results, *check)) for check in self._checks.items()]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        for name, breaker in self._breakers.items():
            results[name]["breaker"] = breaker.state
        return {
            "status": _overall({name for name, result in results.items() if result["status"] == "down"}),
            "timestamp": clock.rfc3339(clock.now()),
            "version": VERSION,
            "uptime": round(time.monotonic() - self._started, 1),
            "checks": {name: results[name] for name in self._checks} | self._told,
        }


def _measure(results: dict[str, dict[str, Any]], name: str, check: Callable[[], bool]) -> None:
    started = time.perf_counter()
    works = check()
    elapsed = round((time.perf_counter() - started) * 1000, 1)
    results[name] = {"status": "ok" if works else "down", "latencyMs": elapsed}


def _ready(pool: ConnectionPool, told: dict[str, Any]) -> Callable[[], bool]:
    def check() -> bool:
        try:
            answer = forward(pool, UpstreamRequest("GET", "/readyz", [], None, TIMEOUT))
        except Problem:
            return False
        if close := getattr(answer.body, "close", None):
            close()
        else:
            told.update(_parts(b"".join(answer.body)))
        return answer.status.startswith("200")

    return check


def _parts(body: bytes) -> dict[str, Any]:
    """Return those of the parts that a service tells about at `/readyz` that are shown."""
    try:
        checks = orjson.loads(body)["data"]["checks"]
        return {name: checks[name] for name in TOLD if name in checks}
    except (ValueError, LookupError, TypeError):
        return {}


def _overall(down: set[str]) -> str:
    if down & ESSENTIAL:
        return "unhealthy"
    return "degraded" if down else "healthy"
