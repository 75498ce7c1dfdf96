"""Find out which address a request comes from, and what the client asked for."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from shared.addresses import Address, parse

Network = IPv4Network | IPv6Network
_host = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}").fullmatch


def client_address(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return the nearest address that is no trusted proxy, from the right of X-Forwarded-For.

    The header counts only when the peer itself is trusted; a hop that is no address ends the walk.
    """
    address = parse(peer)
    if address is None or not (forwarded_for and _within(address, trusted)):
        return _canonical(peer)
    nearest = peer
    for hop in map(str.strip, reversed(forwarded_for.split(","))):
        address = parse(hop)
        if address is None:
            break
        nearest = hop
        if not _within(address, trusted):
            break
    return _canonical(nearest)


def scheme_and_host(environ: Mapping[str, Any], trusted: Sequence[Network]) -> tuple[str, str]:
    """Return what the client asked for, as a trusted proxy says, else as this server saw it; a bad host is empty."""
    scheme, host = str(environ["wsgi.url_scheme"]), str(environ.get("HTTP_HOST", ""))
    peer = parse(environ.get("REMOTE_ADDR", "")) if trusted else None
    if peer and _within(peer, trusted):
        said = environ.get("HTTP_X_FORWARDED_PROTO", "")
        scheme = said if said in ("http", "https") else scheme
        host = environ.get("HTTP_X_FORWARDED_HOST", host)
    return scheme, host if _host(host) else ""


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    return str(parse(text) or text)


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)
