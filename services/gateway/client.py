"""Find out which address a request comes from, under which key it is counted, and what the client asked for."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_host = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}").fullmatch


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return the nearest address that is no trusted proxy, from the right of X-Forwarded-For.

    The header counts only when the peer itself is trusted; a hop that is no address ends the walk.
    """
    address = _parse(peer)
    if address is None or not (forwarded_for and _within(address, trusted)):
        return _canonical(peer)
    nearest = peer
    for hop in map(str.strip, reversed(forwarded_for.split(","))):
        address = _parse(hop)
        if address is None:
            break
        nearest = hop
        if not _within(address, trusted):
            break
    return _canonical(nearest)


def scheme_and_host(environ: Mapping[str, Any], trusted: Sequence[Network]) -> tuple[str, str]:
    """Return what the client asked for, as a trusted proxy says, else as this server saw it; a bad host is empty."""
    scheme, host = str(environ["wsgi.url_scheme"]), str(environ.get("HTTP_HOST", ""))
    peer = _parse(environ.get("REMOTE_ADDR", "")) if trusted else None
    if peer and _within(peer, trusted):
        said = environ.get("HTTP_X_FORWARDED_PROTO", "")
        scheme = said if said in ("http", "https") else scheme
        host = environ.get("HTTP_X_FORWARDED_HOST", host)
    return scheme, host if _host(host) else ""


@lru_cache(maxsize=4096)
def limiter_key(address: str) -> str:
    """Return the address; of IPv6 the /64, since one customer has all of it."""
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed or address)


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return str(_parse(text) or text)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id:
            return None
        return address.ipv4_mapped or address
    return address


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
