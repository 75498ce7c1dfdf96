"""Open TCP connections with one deadline for name lookup and connect."""

import socket
import time
from collections.abc import Callable, Iterable

from shared.client_address import Address
from shared.network.name_lookup import NameLookup

Dial = Callable[[Address, float], socket.socket]
# Name lookups of upstreams have their own threads, so that an outside host with a slow name server blocks none.
_upstreams = NameLookup(threads=16)


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to the first address of the host that accepts; raise OSError, or TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    addresses = _upstreams.addresses(host, seconds)
    return try_each(addresses, lambda address, left: dial(address, port, left), deadline)


def dial(address: Address, port: int, seconds: float) -> socket.socket:
    """Connect to the address; `socket.create_connection` would call the resolver even for an IP address."""
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect((str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def try_each(addresses: Iterable[Address], dial: Dial, deadline: float, longest: float = 60.0) -> socket.socket:
    """Dial one address after the other, each for at most `longest` seconds; raise the error of the last one."""
    failure = OSError("it has no address")
    for address in addresses:
        try:
            return dial(address, min(longest, seconds_left(deadline)))
        except OSError as error:
            failure = error
    raise failure


def seconds_left(deadline: float) -> float:
    """Return the seconds until the deadline; raise TimeoutError after it."""
    if (seconds := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return seconds
