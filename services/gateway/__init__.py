"""The gateway: the one public port, with the policies that every request meets before a service sees it."""

from collections.abc import Callable, Mapping
from functools import partial

from flask import Flask

from services.gateway import layers
from services.gateway.breaker import Breaker
from services.gateway.cache import reuse_answers
from services.gateway.client import proxies
from services.gateway.config import Config
from services.gateway.cors import Cors
from services.gateway.external import Outside
from services.gateway.health import Health
from services.gateway.limits import MemoryWindow, Window
from services.gateway.limits_handover import LimitsHandover
from services.gateway.openapi import Documents
from services.gateway.pool import Pool
from services.gateway.purging import PurgingReader
from services.gateway.resources import docs, errors, health, hello, links, proxy
from services.gateway.routes import STREAMING, RouteTable
from services.gateway.store import Store
from services.gateway.views import Views
from shared.app import create_service, run_in_background
from shared.csrf import Csrf
from shared.request_id import WsgiApp, with_request_id
from shared.tokens import Verifier

HTTPS_ONLY = [("Strict-Transport-Security", "max-age=31536000; includeSubDomains")]


def create_app(config: Config | None = None) -> Flask:
    """Return the gateway: the chain of layers in front of a Flask app that serves the gateway's own pages."""
    config = config or Config.from_environment()
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    blueprints = [hello.blp, health.blp, errors.blp, links.blp, docs.blp, proxy.blp]
    app = create_service("gateway", config, blueprints, own_cors=False)  # the chain has that
    pools = {name: Pool(name, url, bounded=name in STREAMING) for name, url in config.upstreams.items()}
    breakers = {name: Breaker(name) for name in pools}
    store = make_store(config)
    views = Views(config)
    if store:
        run_in_background(app, PurgingReader(config, store))
        app.extensions["postern.shutdown"].append(store.close)
        run_in_background(app, views)
    window, extra = make_window(config)
    if isinstance(window, MemoryWindow):
        handover = LimitsHandover(window, config.data_dir / "gateway-limits")
        app.extensions["postern.draining"] = [handover.give]
        app.extensions["postern.background"].append(handover.start)
    app.extensions["postern.pools"] = pools
    app.extensions["postern.gateway_health"] = Health(pools, breakers, extra)
    app.extensions["postern.documents"] = Documents(
        RouteTable(), app.extensions["postern.document"], config.upstreams, config.internal_token, config.public_url
    )
    app.extensions["postern.outside"] = Outside(config.proxy_allowed_hosts)
    app.extensions["postern.stopping"] += [pool.end_streams for pool in pools.values()]
    app.extensions["postern.shutdown"] += [pool.close for pool in pools.values()]
    own_pages = partial(Flask.wsgi_app, app)  # without the kit's request id and log, which the chain begins with
    verifier = app.extensions["postern.verifier"]
    csrf = app.extensions["postern.csrf"]
    app.wsgi_app = chain(own_pages, pools, breakers, store, views, verifier, csrf, window, config)  # type: ignore[method-assign, assignment]
    app.extensions["postern.refuse"] = app.wsgi_app
    return app


def make_store(config: Config) -> Store | None:
    """Return where answers are kept; with Redis it hears of what other gateways purge."""
    if not config.cache_bytes:
        return None
    if not config.redis_url:
        return Store(config.cache_bytes)
    from services.gateway.shared_store import SharedStore  # only now: the client of Redis takes 7 MiB

    return SharedStore(config.cache_bytes, config.redis_url)


def make_window(config: Config) -> tuple[Window, dict[str, Callable[[], bool]]]:
    """Return where requests are counted, and what health has to look at for it."""
    if not config.redis_url:
        return MemoryWindow(), {}
    from services.gateway.shared_window import FallbackWindow, RedisWindow

    shared = RedisWindow(config.redis_url)
    return FallbackWindow(shared, MemoryWindow()), {"redis": shared.works}


def chain(
    own_pages: WsgiApp,
    pools: Mapping[str, Pool],
    breakers: Mapping[str, Breaker],
    store: Store | None,
    views: Views,
    verifier: Verifier,
    csrf: Csrf,
    window: Window,
    config: Config,
) -> WsgiApp:
    """Show the way of a request, from the last step to the first."""
    table, cors, is_proxy = RouteTable(), Cors(config.cors_origins), proxies(config.trusted_proxies)

    app = layers.pass_on(own_pages, pools, breakers, is_proxy, config.data_dir)
    app = reuse_answers(app, store, views.note)
    app = layers.check_rights(app)
    app = layers.count(app, window if config.ratelimit_enabled else None, observe=config.ratelimit_observe)
    app = layers.identify(app, verifier.verify, csrf)
    app = layers.answer_preflights(app, cors)
    app = layers.limit_body(app)
    app = layers.find_route(app, table)
    app = layers.answer(app, is_proxy, cors, HTTPS_ONLY if config.production else [])
    return with_request_id(app)
