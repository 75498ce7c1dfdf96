"""Invalidate cached responses after a write, before the client gets its response."""

from collections.abc import Iterable
from typing import Any

from services.gateway.cache import policy
from services.gateway.cache.policy import Rules
from services.gateway.cache.store import Store
from services.gateway.http.headers import Headers
from services.gateway.request_context import KEY, Environ, StartResponse
from shared.telemetry.request_id import WsgiApp


def forward_write(
    app: WsgiApp, store: Store | None, rules: Rules, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """Forward a write and purge the tags in its Cache-Tag before the response starts.

    A success without tags purges all responses of the service. After a 5xx or a lost response, the service may or may
    not have written: a soft purge then leaves the responses for stale-if-error. A write that was never sent purges
    nothing.
    """
    everything = {all_of(environ[KEY].route.upstream)}

    def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
        named = policy.tags(headers)
        if store and status[0] == "5":
            store.soft_purge(named or everything)
        elif store and (named or status[0] in "23"):
            store.purge(named or everything)
        return start_response(status, rules.outward(headers), exc_info)

    try:
        return app(environ, start)
    except BaseException:  # GreenletExit too, by which gevent ends a greenlet
        if store and environ[KEY].sent:
            store.soft_purge(everything)
        raise


def all_of(upstream: str) -> str:
    """Return the tag that all responses of a service have."""
    return f"@{upstream}"
