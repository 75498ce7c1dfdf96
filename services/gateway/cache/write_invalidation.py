"""Purge or outdate what a write has touched, before its writer gets the answer."""

from collections.abc import Iterable
from typing import Any

from services.gateway.cache import policy
from services.gateway.cache.policy import Rules
from services.gateway.cache.store import Store
from services.gateway.http.headers import Headers
from services.gateway.request_context import KEY, Environ, StartResponse
from shared.telemetry.request_id import WsgiApp


def write(
    app: WsgiApp, store: Store | None, rules: Rules, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """Purge what the write touched before its answer goes out.

    The service names it by Cache-Tag; a success that names nothing touches all that comes from the service. After a
    5xx, or when the answer is lost, nobody knows whether anything was written: then the answers are outdated, so that
    they still help while the service fails. A write that was never sent has touched nothing.
    """
    everything = {all_of(environ[KEY].route.upstream)}

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        named = policy.tags(headers)
        if store and status[0] == "5":
            store.doubt(named or everything)
        elif store and (named or status[0] in "23"):
            store.purge(named or everything)
        return start_response(status, rules.outward(headers), exc_info)

    try:
        return app(environ, start)
    except BaseException:  # also of a server that ends its greenlets
        if store and environ[KEY].sent:
            store.doubt(everything)
        raise


def all_of(upstream: str) -> str:
    """Return the tag of everything that a service has answered."""
    return f"@{upstream}"
