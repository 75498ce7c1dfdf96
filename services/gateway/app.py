"""The gateway: the only public port, and the middleware that each request passes before it reaches a service."""

from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask

from services.gateway import middleware
from services.gateway.cache.feed_invalidation import InvalidationConsumer
from services.gateway.cache.middleware import response_cache
from services.gateway.cache.store import Store
from services.gateway.cache.view_reporting import ViewReporter
from services.gateway.config import Config
from services.gateway.http.cors import Cors
from services.gateway.http.forwarded import proxies
from services.gateway.openapi.merge import Documents
from services.gateway.outside.client import OutsideClient
from services.gateway.pages import docs, errors, health, hello, mail_links, outside
from services.gateway.proxy.circuit_breaker import CircuitBreaker
from services.gateway.proxy.connection_pool import ConnectionPool, ConnectionPools
from services.gateway.proxy.health import Health
from services.gateway.rate_limit.classes import Window
from services.gateway.rate_limit.handover import LimitsHandover
from services.gateway.rate_limit.memory import MemoryWindow
from services.gateway.routes import SERVICES, RouteTable
from shared.app import create_service, run_in_background
from shared.identity.access_tokens import Verifier
from shared.identity.csrf import Csrf
from shared.service import service_of
from shared.telemetry.request_id import WsgiApp, with_request_id

HTTPS_ONLY = [("Strict-Transport-Security", "max-age=31536000; includeSubDomains")]


def create_app(config: Config | None = None) -> Flask:
    """Return the gateway: the middleware chain in front of a Flask app with the gateway's own pages."""
    config = config or Config.from_environment()
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    blueprints = [hello.blp, health.blp, errors.blp, mail_links.blp, docs.blp, outside.blp]
    app = create_service("gateway", config, blueprints, own_cors=False)  # the chain adds the CORS headers
    service = service_of(app)
    pools = service.add(ConnectionPools())
    pools |= {name: ConnectionPool(name, url, bounded=SERVICES[name].streams) for name, url in config.upstreams.items()}
    breakers = {name: CircuitBreaker(name) for name in pools}
    store = make_store(config)
    views = ViewReporter(config)
    if store:
        for name in (name for name, upstream in SERVICES.items() if upstream.is_cached):
            run_in_background(app, InvalidationConsumer(name, config, store))
        service.on_exit.append(store.close)
        run_in_background(app, views)
    window, extra = make_window(config)
    if isinstance(window, MemoryWindow):
        handover = LimitsHandover(window, config.data_dir / "gateway-limits")
        service.on_drain.append(handover.give)
        service.on_start.append(handover.start)
    service.add(Health(pools, breakers, extra))
    service.add(Documents(RouteTable(), service.document, config.upstreams, config.internal_token, config.public_url))
    service.add(OutsideClient(config.proxy_allowed_hosts))
    service.on_stop += [pool.end_streams for pool in pools.values()]
    service.on_exit += [pool.close for pool in pools.values()]
    own_pages = partial(Flask.wsgi_app, app)  # without request id and access log, which the chain adds
    verifier = service.get(Verifier)
    csrf = service.get(Csrf)
    app.wsgi_app = chain(own_pages, pools, breakers, store, views, verifier, csrf, window, config)  # type: ignore[method-assign, assignment]
    service.refuse = app.wsgi_app
    return app


def make_store(config: Config) -> Store | None:
    """Return the store of the cache, None without a cache; with Redis, gateway processes share their purges."""
    if not config.cache_bytes:
        return None
    if not config.redis_url:
        return Store(config.cache_bytes)
    from services.gateway.cache.redis_invalidation import (
        RedisInvalidatedStore,  # only now: the client of Redis takes 7 MiB
    )

    return RedisInvalidatedStore(config.cache_bytes, config.redis_url)


def make_window(config: Config) -> tuple[Window, dict[str, Callable[[], bool]]]:
    """Return the counter of the rate limits, and its health checks by name."""
    if not config.redis_url:
        return MemoryWindow(), {}
    from services.gateway.rate_limit.redis import FallbackWindow, RedisWindow

    shared = RedisWindow(config.redis_url)
    return FallbackWindow(shared, MemoryWindow()), {"redis": shared.works}


def chain(
    own_pages: WsgiApp,
    pools: Mapping[str, ConnectionPool],
    breakers: Mapping[str, CircuitBreaker],
    store: Store | None,
    views: ViewReporter,
    verifier: Verifier,
    csrf: Csrf,
    window: Window,
    config: Config,
) -> WsgiApp:
    """Return the middleware chain; a request passes it from the last line to the first."""
    table, cors, is_proxy = RouteTable(), Cors(config.cors_origins), proxies(config.trusted_proxies)

    app = middleware.proxy(own_pages, pools, breakers, is_proxy, config.data_dir)
    app = response_cache(app, store, views.note)
    app = middleware.authorize(app)
    app = middleware.rate_limit(app, window if config.ratelimit_enabled else None, observe=config.ratelimit_observe)
    app = middleware.authenticate(app, verifier.verify, csrf)
    app = middleware.handle_preflights(app, cors)
    app = middleware.limit_body(app)
    app = middleware.find_route(app, table)
    app = middleware.open_context(app, is_proxy, cors, config.public_url, HTTPS_ONLY if config.production else [])
    return with_request_id(app)
