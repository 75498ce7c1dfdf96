"""The aggregated health of all services."""

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
MAX_AGE = 2.0  # seconds that a report is reused
TIMEOUT = 2.0
SHOWN_CHECKS = ("storage",)  # checks inside services that the report shows


class Health:
    """Health checks of all services, run in parallel and at most every two seconds.

    `extra` are further checks by name. The requests to the services bypass the circuit breakers, whose states are in
    the report.
    """

    def __init__(
        self,
        pools: Mapping[str, ConnectionPool],
        breakers: Mapping[str, CircuitBreaker],
        extra: Mapping[str, Callable[[], bool]],
    ) -> None:
        self._breakers = breakers
        self._inner_checks: dict[str, Any] = {}
        self._checks = {name: _readiness_check(pool, self._inner_checks) for name, pool in pools.items()} | dict(extra)
        self._started = time.monotonic()
        self._checked_at = float("-inf")
        self._report: dict[str, Any] = {}
        self._lock = threading.Lock()

    def report(self) -> dict[str, Any]:
        """Return `{status, timestamp, version, uptime, checks}`; uptime in seconds."""
        with self._lock:
            if time.monotonic() - self._checked_at >= MAX_AGE:
                self._report = self._run_checks()
                self._checked_at = time.monotonic()
            return self._report

    def _run_checks(self) -> dict[str, Any]:
        results: dict[str, dict[str, Any]] = {}
        self._inner_checks.clear()
        threads = [threading.Thread(target=_run_check, args=(results, *check)) for check in self._checks.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for name, breaker in self._breakers.items():
            results[name]["breaker"] = breaker.state
        return {
            "status": _overall_status({name for name, result in results.items() if result["status"] == "down"}),
            "timestamp": clock.rfc3339(clock.now()),
            "version": VERSION,
            "uptime": round(time.monotonic() - self._started, 1),
            "checks": {name: results[name] for name in self._checks} | self._inner_checks,
        }


def _run_check(results: dict[str, dict[str, Any]], name: str, check: Callable[[], bool]) -> None:
    started = time.perf_counter()
    works = check()
    elapsed = round((time.perf_counter() - started) * 1000, 1)
    results[name] = {"status": "ok" if works else "down", "latencyMs": elapsed}


def _readiness_check(pool: ConnectionPool, inner_checks: dict[str, Any]) -> Callable[[], bool]:
    def check() -> bool:
        try:
            response = forward(pool, UpstreamRequest("GET", "/readyz", [], None, TIMEOUT))
        except Problem:
            return False
        if close := getattr(response.body, "close", None):
            close()
        else:
            inner_checks.update(_shown_checks(b"".join(response.body)))
        return response.status.startswith("200")

    return check


def _shown_checks(body: bytes) -> dict[str, Any]:
    """Return the shown checks of a response of `/readyz`."""
    try:
        checks = orjson.loads(body)["data"]["checks"]
        return {name: checks[name] for name in SHOWN_CHECKS if name in checks}
    except (ValueError, LookupError, TypeError):
        return {}


def _overall_status(down: set[str]) -> str:
    if down & ESSENTIAL:
        return "unhealthy"
    return "degraded" if down else "healthy"
