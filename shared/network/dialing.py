"""Connect within a time, to addresses that are known or looked up within the same time."""

import socket
import time
from collections.abc import Callable, Iterable

from shared.client_address import Address
from shared.network.name_lookup import NameLookup

Dial = Callable[[Address, float], socket.socket]
# Upstreams have threads of their own: an outside host whose name server is silent keeps none of them.
_upstreams = NameLookup(threads=16)


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to the first address of the host that answers; raise OSError, or TimeoutError after so many seconds."""
    deadline = time.monotonic() + seconds
    addresses = _upstreams.addresses(host, seconds)
    return try_each(addresses, lambda address, left: dial(address, port, left), deadline)


def dial(address: Address, port: int, seconds: float) -> socket.socket:
    """Connect to the address; `socket.create_connection` would ask the resolver even for a literal address."""
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect((str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock


def try_each(addresses: Iterable[Address], dial: Dial, deadline: float, longest: float = 60.0) -> socket.socket:
    """Dial one address after the other, each for at most `longest` seconds; raise what the last one failed with."""
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
