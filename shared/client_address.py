"""The address of a client behind the gateway, and its key for rate limits."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from shared.short_key_cache import short_key_cache

Address = IPv4Address | IPv6Address
_with_port = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}").fullmatch


def client_address(environ: Mapping[str, Any]) -> str:
    """Return the client's address of a request to a service.

    It comes from X-Forwarded-For, which the gateway sets, if the peer has a private or loopback address. Otherwise it
    is the address of the peer.
    """
    peer, said = str(environ.get("REMOTE_ADDR", "")), str(environ.get("HTTP_X_FORWARDED_FOR", ""))
    near = parse(peer)
    forwarded = parse_hop(said.rpartition(",")[2]) if near and near.is_private else None
    return str(forwarded) if forwarded else peer[:64]


@short_key_cache(4096)
def limiter_key(address: str) -> str:
    """Return the key of an address: of IPv6 the /64 network, since one customer has all of it."""
    parsed = parse(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
    return str(parsed or address)


@short_key_cache(4096)
def parse_hop(text: str) -> Address | None:
    """Return the address of an element of X-Forwarded-For, with or without port, brackets and quotes."""
    text = text.strip(' \t"')
    if match := _with_port(text):
        text = match[1] or match[2]
    return parse(text)


@short_key_cache(4096)
def parse(text: str) -> Address | None:
    """Parse an IP address; return None for any other text. An IPv4-mapped address becomes IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id:
            return None
        return address.ipv4_mapped or address
    return address
