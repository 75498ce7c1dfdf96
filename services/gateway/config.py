"""The gateway's settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass
from ipaddress import ip_network
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from services.gateway.http.forwarded import Network
from services.gateway.routes import SERVICES
from shared.settings import (
    BaseConfig,
    boolean,
    integer,
    items,
    ratelimit_enabled,
    service_port,
    service_url,
    setting,
    url,
)

Settings = TypeVar("Settings", bound=BaseConfig)


def _network(value: str) -> Network:
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError(f"must hold networks as 10.0.0.0/8, not {value}") from error


def _upstream(value: str) -> str:
    parts = urlsplit(url("http")(value))
    if not parts.hostname or parts.path or parts.query or parts.username:
        raise ValueError("must be an address as http://host:port, without a path")
    return f"http://{parts.netloc}"


_is_host = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])").fullmatch


def _outside_host(value: str) -> str:
    if not _is_host(value):
        raise ValueError(f"must hold names of hosts like api.github.com: lower-case, no port, no address, not {value}")
    return value


def _with_upstreams(base: type[Settings]) -> type[Settings]:
    """Add the settings for the port and the URL of each service in the route table."""
    added: list[Any] = []
    for name, service in SERVICES.items():
        added.append((f"{name}_port", int, service_port(name, service.port)))
        added.append((f"{name}_url", str, service_url(name, service.port, _upstream)))
    return cast(type[Settings], make_dataclass(base.__name__, added, bases=(base,), frozen=True, kw_only=True))


@_with_upstreams
@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """The settings of the gateway besides those of all services."""

    workers: int = setting("GATEWAY_WORKERS", integer(1, 64), "1", "Gateway processes; several need REDIS_URL")
    drain: int = setting(
        "DRAIN_SECONDS",
        integer(10, 3600),
        "300",
        "Seconds for running requests to finish when SIGHUP replaces a process",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "TRUSTED_PROXIES", items(_network), "", "Networks of the trusted proxies, whose X-Forwarded-* headers count"
    )
    ratelimit_enabled: bool = ratelimit_enabled()
    ratelimit_observe: bool = setting(
        "RATELIMIT_OBSERVE", boolean, "false", "Whether requests over a limit are logged and counted instead of refused"
    )
    proxy_allowed_hosts: tuple[str, ...] = setting(
        "PROXY_ALLOWED_HOSTS",
        items(_outside_host),
        "jsonplaceholder.typicode.com,api.github.com,httpbin.org",
        "Outside hosts that signed-in users may request through /api/proxy",
    )
    cache_mib: int = setting(
        "CACHE_MIB", integer(0, 65536), "32", "MiB of each process for cached responses; 0 turns the cache off"
    )

    @classmethod
    def contradictions(cls, known: Mapping[str, Any]) -> list[str]:
        mistakes = super().contradictions(known)
        if known.get("workers", 1) > 1 and "redis_url" in known and not known["redis_url"]:
            mistakes.append("GATEWAY_WORKERS above 1 needs REDIS_URL: limits would be counted per process")
        return mistakes

    @property
    def upstreams(self) -> dict[str, str]:
        """Return the URL of each service by its name in the route table."""
        return {name: getattr(self, f"{name}_url") for name in SERVICES}

    @property
    def cache_bytes(self) -> int:
        """Return the size of the cache of one process in bytes."""
        return self.cache_mib * 1024 * 1024
