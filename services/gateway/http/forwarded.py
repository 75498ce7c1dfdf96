"""The client's address, scheme and host behind trusted proxies (X-Forwarded-*)."""

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
    """Return a memoized function that says whether an address is a trusted proxy; a lookup would take 2 µs."""
    known = tuple(networks)

    @lru_cache(maxsize=4096)
    def is_proxy(text: str) -> bool:
        address = parse(text)
        return address is not None and any(address in network for network in known)

    return is_proxy


def client_address(peer: str, forwarded_for: str, is_proxy: IsProxy) -> str:
    """Return the rightmost address in X-Forwarded-For that is not a trusted proxy.

    The header counts only if the peer itself is a trusted proxy. A hop that is not an address ends the search, with one
    warning in the log.

    Example: the peer 10.0.0.2 and 10.0.0.1 are trusted. `X-Forwarded-For: 1.2.3.4, 203.0.113.9, 10.0.0.1` gives
    203.0.113.9. The client itself sent 1.2.3.4, so that does not count.
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
    """Return scheme and host of the request, from X-Forwarded-* of a trusted proxy if any; a bad host is empty."""
    scheme, host = str(environ["wsgi.url_scheme"]), str(environ.get("HTTP_HOST", ""))
    if is_proxy(environ.get("REMOTE_ADDR", "")):
        said = environ.get("HTTP_X_FORWARDED_PROTO", "")
        scheme = said if said in ("http", "https") else scheme
        host = environ.get("HTTP_X_FORWARDED_HOST", host)
    return scheme, host if _host(host) else ""


@short_key_cache(4096)
def _canonical(text: str) -> str:
    return str(parse(text) or text)
