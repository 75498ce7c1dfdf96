"""Look up and connect within a time, of which the system's resolver knows nothing."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from shared.addresses import Address, parse

Dial = Callable[[Address, float], socket.socket]


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connect to the first address of the host that answers; raise OSError, or TimeoutError after so many seconds."""
    deadline = time.monotonic() + seconds
    return try_each(look_up(host, seconds), lambda address, left: dial(address, port, left), deadline)


def dial(address: Address, port: int, seconds: float) -> socket.socket:
    """Connect to the address itself; no name is looked up here."""
    return socket.create_connection((str(address), port), seconds)


def try_each(addresses: Iterable[Address], dial: Dial, deadline: float, longest: float = 60.0) -> socket.socket:
    """Dial one address after the other, each for at most `longest` seconds; raise what the last one failed with."""
    failure = OSError("it has no address")
    for address in addresses:
        try:
            return dial(address, min(longest, seconds_left(deadline)))
        except OSError as error:
            failure = error
    raise failure


def look_up(host: str, seconds: float) -> list[Address]:
    """Return the addresses of a host; raise OSError, or TimeoutError when nobody knows them in time."""
    if literal := parse(host):
        return [literal]
    results: list[list[Any] | OSError] = []

    def ask() -> None:
        try:
            results.append(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError as error:
            results.append(error)

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    asker.join(seconds)
    if not results:
        raise TimeoutError
    if isinstance(results[0], OSError):
        raise results[0]
    return [ip_address(found[4][0]) for found in results[0]]


def seconds_left(deadline: float) -> float:
    """Return the seconds until the deadline; raise TimeoutError after it."""
    if (seconds := deadline - time.monotonic()) <= 0:
        raise TimeoutError
    return seconds
