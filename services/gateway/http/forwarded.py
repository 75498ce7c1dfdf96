"""Find out which address a request comes from, and what the client asked for."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from shared.client_address import parse, parse_hop
from shared.short_key_cache import short_key_cache

Network = IPv4Network | IPv6Network
IsProxy = Callable[[str], bool]
_logger = logging.getLogger("postern.gateway")
_host = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}").fullmatch


def proxies(networks: Iterable[Network]) -> IsProxy:
    """Return what tells whether an address is one of a trusted proxy, and remembers it: to look it up takes 2 µs."""
    known = tuple(networks)

    @lru_cache(maxsize=4096)
    def is_proxy(text: str) -> bool:
        address = parse(text)
        return address is not None and any(address in network for network in known)

    return is_proxy


def client_address(peer: str, forwarded_for: str, is_proxy: IsProxy) -> str:
    """Return the nearest address that is no trusted proxy, from the right of X-Forwarded-For.

    The header counts only when the peer itself is trusted; a hop that is no address ends the walk, and the log says
    so once.
    """
    nearest = _canonical(peer)
    if not (forwarded_for and is_proxy(peer)):
        return nearest
    for hop in reversed(forwarded_for.split(",")):
        if not hop.strip():
            continue
        address = parse_hop(hop)
        if address is None:
            _warn_of_hops()
            break
        nearest = str(address)
        if not is_proxy(nearest):
            break
    return nearest


@cache
def _warn_of_hops() -> None:
    _logger.warning("an element of X-Forwarded-For is no address: all clients behind it share the limits of its proxy")


def scheme_and_host(environ: Mapping[str, Any], is_proxy: IsProxy) -> tuple[str, str]:
    """Return what the client asked for, as a trusted proxy says, else as this server saw it; a bad host is empty."""
    scheme, host = str(environ["wsgi.url_scheme"]), str(environ.get("HTTP_HOST", ""))
    if is_proxy(environ.get("REMOTE_ADDR", "")):
        said = environ.get("HTTP_X_FORWARDED_PROTO", "")
        scheme = said if said in ("http", "https") else scheme
        host = environ.get("HTTP_X_FORWARDED_HOST", host)
    return scheme, host if _host(host) else ""


@short_key_cache(4096)
def _canonical(text: str) -> str:
    return str(parse(text) or text)
