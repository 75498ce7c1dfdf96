"""Keep connections to an upstream open, of a bounded number."""

import select
import socket
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from urllib.parse import urlsplit

from shared.concurrency import Bulkhead
from shared.network.dialing import connect
from shared.network.sockets import ClientGone, send_all
from shared.problems import Problem

CONNECT_TIMEOUT = 1.0
IDLE_AGE = 30.0  # less than the 75 s for which a service keeps an idle connection
MAX_CONNECTIONS = 512  # what a service that hangs may hold; the others have their own
MAX_STREAMS = 2000  # answers without an end, which take no place of the others
MAX_IDLE = 128
MOMENT = 0.01  # seconds that a connection rests before it is looked at and used again
PER_CLIENT = 8  # requests of one client to a service that streams, which has 32 threads
PATIENCE = 10.0  # seconds that another one waits
RECEIVE = 64 * 1024
CLIENT_CHECK = 0.5  # seconds of a wait in which nobody looks whether the client is still there
ESTABLISHED = 1  # of a TCP connection (Linux)


class ConnectionLost(Problem):
    """The upstream was not reached, or went away before the first byte of an answer."""


class UpstreamConnection:
    """One socket to an upstream; every wait on it has a time-out."""

    __slots__ = ("_idle_since", "_socket")

    def __init__(self, host: str, port: int) -> None:
        self._socket = connect(host, port, CONNECT_TIMEOUT)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._idle_since = 0.0

    def send(self, data: bytes, timeout: float) -> None:
        self._socket.settimeout(timeout)
        send_all(self._socket, data)

    def send_some(self, data: memoryview, timeout: float) -> int:
        """Send what the upstream takes, and return how much; 0 when it has something to say first."""
        self._socket.settimeout(0)
        with suppress(BlockingIOError):
            self._socket.recv(1, socket.MSG_PEEK)
            return 0
        with suppress(BlockingIOError):
            return self._socket.send(data)
        self._socket.settimeout(timeout)
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | select.POLLOUT)
        events = poll.poll(timeout * 1000)
        if not events:
            raise TimeoutError
        return self._socket.send(data) if events[0][1] == select.POLLOUT else 0

    def receive(self, timeout: float, client: socket.socket | None) -> bytes:
        """Return what has arrived, waiting for `timeout` seconds; nothing means closed.

        Raises ClientGone when that client does not wait any more.
        """
        deadline = time.monotonic() + timeout
        if client and timeout > CLIENT_CHECK:
            with suppress(TimeoutError):
                return self._receive(CLIENT_CHECK)
            self._wait_beside(client, deadline - time.monotonic())
        return self._receive(deadline - time.monotonic())

    def _receive(self, timeout: float) -> bytes:
        if timeout <= 0:
            raise TimeoutError
        self._socket.settimeout(timeout)
        return self._socket.recv(RECEIVE)

    def _wait_beside(self, client: socket.socket, timeout: float) -> None:
        """Wait until either side has something to say, and see that it is no farewell of the client."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(client, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(max(timeout, 0) * 1000)]
        if self._socket.fileno() not in ready and has_gone(client):
            raise ClientGone

    def hang_up(self) -> None:
        """Let whoever waits on the connection find it ended."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def rest(self) -> None:
        self._idle_since = time.monotonic()

    @property
    def rested(self) -> float:
        """Return for how many seconds the connection has rested."""
        return time.monotonic() - self._idle_since

    def usable(self) -> bool:
        """Tell whether the connection rested not too long, was not closed and has no surplus bytes."""
        if self.rested > IDLE_AGE:
            return False
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self._socket.close()


def has_gone(client: socket.socket) -> bool:
    """Tell whether the peer has ended the connection; where that cannot be asked, the next write will tell."""
    # What we have shut down ourselves, and what was sent in advance, look the same to a read.
    if sys.platform != "linux":
        return False
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED


class ConnectionPool:
    """The connections to one upstream; with `bounded` each client has at most PER_CLIENT of them at a time."""

    def __init__(self, name: str, url: str, *, bounded: bool = False) -> None:
        parts = urlsplit(url)
        self.name = name
        self.authority = parts.netloc
        self._address = (parts.hostname or "", parts.port or 80)
        self._idle: deque[UpstreamConnection] = deque()
        self._streams: set[UpstreamConnection] = set()
        self._lock = threading.Lock()
        self._busy = 0
        detail = f"{PER_CLIENT} slow requests of yours are under way already."
        self._clients = Bulkhead(
            None, per_client=PER_CLIENT if bounded else None, patience=PATIENCE, detail=detail, code="RATE_LIMITED"
        )
        self.stopping = False

    def acquire(self, client: str, *, fresh: bool = False) -> UpstreamConnection:
        """Return a rested connection, or a new one; raise Lost when there is none to be had.

        `fresh` passes over the rested ones, since one of them has just turned out to be dead.
        """
        self._clients.acquire(client)
        try:
            return self._acquire(fresh)
        except BaseException:
            self._clients.release(client)
            raise

    def _acquire(self, fresh: bool) -> UpstreamConnection:
        self._take_slot()
        try:
            return (None if fresh else self._rested()) or self._connect()
        except BaseException:
            self._give_slot()
            raise

    def set_apart(self, connection: UpstreamConnection) -> None:
        """Give back the place of a stream, which may last for hours; raise SERVICE_UNAVAILABLE for one too many."""
        with self._lock:
            if len(self._streams) >= MAX_STREAMS:
                raise Problem("SERVICE_UNAVAILABLE", f"The {self.name} service has too many streams.", retryAfter=5)
            self._streams.add(connection)
            self._busy -= 1
        if self.stopping:
            connection.hang_up()

    def end_streams(self) -> None:
        """End what would hold up a stop for ever; its clients come back to another process."""
        self.stopping = True
        for connection in list(self._streams):
            connection.hang_up()

    def release(self, connection: UpstreamConnection, client: str, *, reusable: bool) -> None:
        """Take a connection back; close it unless its exchange ended cleanly."""
        self._clients.release(client)
        with self._lock:
            if connection in self._streams:
                self._streams.remove(connection)
            else:
                self._busy -= 1
        if reusable and len(self._idle) < MAX_IDLE:
            connection.rest()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _take_slot(self) -> None:
        with self._lock:
            if self._busy >= MAX_CONNECTIONS:
                raise Problem("SERVICE_UNAVAILABLE", f"The {self.name} service is too busy.", retryAfter=1)
            self._busy += 1

    def _give_slot(self) -> None:
        with self._lock:
            self._busy -= 1

    def _rested(self) -> UpstreamConnection | None:
        """Return the connection that rested the longest, if that is long enough for surplus bytes to have come."""
        while True:
            try:
                connection = self._idle.popleft()
            except IndexError:
                return None
            if connection.rested < MOMENT:
                self._idle.appendleft(connection)
                return None
            if connection.usable():
                return connection
            connection.close()

    def _connect(self) -> UpstreamConnection:
        try:
            return UpstreamConnection(*self._address)
        except TimeoutError as error:
            raise Problem("GATEWAY_TIMEOUT", f"The {self.name} service did not take the connection.") from error
        except OSError as error:
            raise ConnectionLost(
                "SERVICE_UNAVAILABLE", f"The {self.name} service is not running.", retryAfter=1
            ) from error


class ConnectionPools(dict[str, ConnectionPool]):
    """The pool of every service by its name."""
