"""Ports for servers that a test starts by number.

They lie below those that systems hand out for port 0 and for outgoing connections, and each process of tests has its
own: so nobody else can be given one between the moment it is found free and the moment the server listens.
"""

import os
import random
import socket
from collections.abc import Iterator
from contextlib import suppress

FIRST, END = 11_000, 31_000


def _own_ports() -> Iterator[int]:
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (END - FIRST) // processes
    first = FIRST + size * (number % processes)
    start = random.SystemRandom().randrange(size)  # two runs may be on one machine
    while True:
        yield first + start % size
        start += 1


_ports = _own_ports()


def free_port() -> int:
    """Return a port on which nothing listens, and no other test will."""
    while True:
        port = next(_ports)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
