"""A bounded connection pool for each upstream."""

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
MAX_IDLE_AGE = 30.0  # seconds; less than the keep-alive time of the services, 75 s
MAX_CONNECTIONS = 512  # of one pool, so that a service that hangs leaves the others theirs
MAX_STREAMS = 2000  # event streams, which do not count as connections of the pool
MAX_IDLE = 128
MIN_IDLE_AGE = 0.01  # seconds until an idle connection is reused, in which surplus bytes arrive
PER_CLIENT = 8  # concurrent requests of one client to a bounded pool, whose service has 32 threads
QUEUE_TIMEOUT = 10.0  # seconds that a further one waits
RECEIVE = 64 * 1024
CLIENT_CHECK = 0.5  # seconds of a wait after which it also looks for a disconnect of the client
ESTABLISHED = 1  # of a TCP connection (Linux)


class ConnectionLost(Problem):
    """The upstream refused the connection, or closed it before the first byte of a response."""


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
        """Send what the upstream takes, and return how many bytes; 0 if it has responded or closed."""
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
        """Return the next bytes, empty at the end; wait up to `timeout` seconds.

        Raises TimeoutError, or ClientGone if the client disconnects.
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
        """Wait until the upstream or the client is readable; raise ClientGone if the client has disconnected."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.register(client, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(max(timeout, 0) * 1000)]
        if self._socket.fileno() not in ready and is_disconnected(client):
            raise ClientGone

    def shut_down(self) -> None:
        """Shut the connection down, which wakes a greenlet that waits on it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def mark_idle(self) -> None:
        self._idle_since = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Return the seconds that the connection has been idle."""
        return time.monotonic() - self._idle_since

    def usable(self) -> bool:
        """Return whether the connection is not too old, not closed, and has no surplus bytes."""
        if self.idle_seconds > MAX_IDLE_AGE:
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


def is_disconnected(client: socket.socket) -> bool:
    """Return whether the peer has closed the connection; False if the system does not report it."""
    # A read cannot tell a close by the client from pipelined data, or from our own shutdown.
    if sys.platform != "linux":
        return False
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED


class ConnectionPool:
    """The connections to one upstream; with `bounded`, each client gets at most PER_CLIENT of them at a time."""

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
            None, per_client=PER_CLIENT if bounded else None, patience=QUEUE_TIMEOUT, detail=detail, code="RATE_LIMITED"
        )
        self.stopping = False

    def acquire(self, client: str, *, fresh: bool = False) -> UpstreamConnection:
        """Return an idle connection, or a new one, which `fresh` requires.

        Raises RATE_LIMITED, SERVICE_UNAVAILABLE, GATEWAY_TIMEOUT or ConnectionLost.
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
            return (None if fresh else self._take_idle()) or self._connect()
        except BaseException:
            self._give_slot()
            raise

    def mark_as_stream(self, connection: UpstreamConnection) -> None:
        """Count a connection as a stream, which may last for hours; raise SERVICE_UNAVAILABLE above MAX_STREAMS."""
        with self._lock:
            if len(self._streams) >= MAX_STREAMS:
                raise Problem("SERVICE_UNAVAILABLE", f"The {self.name} service has too many streams.", retryAfter=5)
            self._streams.add(connection)
            self._busy -= 1
        if self.stopping:
            connection.shut_down()

    def end_streams(self) -> None:
        """End all streams, so that the process can stop; the clients reconnect to another one."""
        self.stopping = True
        for connection in list(self._streams):
            connection.shut_down()

    def release(self, connection: UpstreamConnection, client: str, *, reusable: bool) -> None:
        """Return a connection to the pool; close it unless it is reusable."""
        self._clients.release(client)
        with self._lock:
            if connection in self._streams:
                self._streams.remove(connection)
            else:
                self._busy -= 1
        if reusable and len(self._idle) < MAX_IDLE:
            connection.mark_idle()
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

    def _take_idle(self) -> UpstreamConnection | None:
        """Return a usable connection that has been idle the longest, or None."""
        while True:
            try:
                connection = self._idle.popleft()
            except IndexError:
                return None
            if connection.idle_seconds < MIN_IDLE_AGE:
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
    """The connection pool of each service by its name."""
