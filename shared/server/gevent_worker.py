"""A gunicorn worker on an event loop: a slow client costs a greenlet and no thread."""

import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from heapq import nsmallest
from types import FrameType
from typing import Any

from gevent.event import Event
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn.workers.base import Worker
from gunicorn.workers.ggevent import GeventWorker

from shared.event_loop import take_turn, watch
from shared.problems import Problem
from shared.server.error_response import DRAIN, LAST_ANSWERS, RefusingWorker, linger
from shared.server.request_reader import Parser

DESCRIPTORS_PER_CLIENT = 3  # file descriptors: its connection, one to a service, a file for its body
ROOM = 64  # connections that are closed at a time for new ones
FIRST_REQUEST = 0.5  # seconds for the first request of new connections when the worker stops


class EventWorker(RefusingWorker, GeventWorker):
    """gunicorn's gevent worker, which closes idle connections when it has too many, and when it stops."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.places = min(
            self.worker_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // DESCRIPTORS_PER_CLIENT
        )
        self.parsers: set[Parser] = set()
        self.stopping = Event()
        self.is_draining = False
        self.end = float("inf")  # monotonic time at which running requests are cut off

    def init_signals(self) -> None:
        super().init_signals()
        signal.signal(DRAIN, self.handle_drain)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stop(self.cfg.graceful_timeout - LAST_ANSWERS)

    def handle_drain(self, sig: int, frame: FrameType | None) -> None:
        if self.alive:
            self.is_draining = True
            self._stop(self.app.drain)

    def _stop(self, seconds: float) -> None:
        self.end = min(self.end, time.monotonic() + seconds)
        self.alive = False
        self.stopping.set()

    def notify(self) -> None:
        Worker.notify(self)
        if self.orphaned():
            self.handle_exit(signal.SIGTERM, None)

    def run(self) -> None:
        """Serve until the worker stops, then finish running requests; those that take too long get a 503."""
        watch(self.notify)
        pool = Pool(self.places)
        # `getsockname` is called now, since it would fail for a connection accepted just before the listener closes.
        servers = [
            StreamServer(listener, partial(self.handle, listener.getsockname()), spawn=pool)
            for listener in self.sockets
        ]
        for server in servers:
            server.max_accept = 1 if self.cfg.workers > 1 else StreamServer.max_accept
            server.start()
        while self.alive:
            self.notify()
            self.stopping.wait(1.0)
            self._close_silent()
        for server in servers:
            server.close()
        if self.is_draining:
            self.hand_over()
        self.end_streams()
        self._close_idle(lambda parser: parser.answered > 0)  # new connections still get their first response
        if not pool.join(FIRST_REQUEST):
            self._close_idle(lambda parser: True)
        while not pool.join(min(max(self.end - time.monotonic(), 0), 1.0)):
            self.notify()
            if time.monotonic() >= self.end:
                self.log.warning("requests were still under way when the time to stop was up")
                pool.kill(Problem("SERVICE_UNAVAILABLE", "The server restarts.", retryAfter=5), timeout=1)
                pool.kill(timeout=LAST_ANSWERS - 1)

    def _close_silent(self) -> None:
        """Close connections whose silence deadline has passed; a timer for each would cost more than reading a head."""
        now = time.monotonic()
        self._close_idle(lambda parser: (parser.unreader.deadline or now) < now)

    def _close_idle(self, which: Callable[[Parser], bool]) -> None:
        for parser in self.parsers:
            if parser.unreader.waiting and which(parser):
                _expect_no_more(parser.unreader.sock)

    def handle(self, name: Any, client: socket.socket, address: Any) -> None:
        """Serve the requests of one connection."""
        parser = Parser(client, self.patience, self.cfg.keepalive)
        self.parsers.add(parser)
        if len(self.parsers) > self.places - ROOM:
            self._make_room()
        try:
            self._serve_requests(parser, name, client, address)
            sending = parser.unread
        except Exception as error:  # noqa: BLE001
            sending = self.settle(error, client, parser.request, address) or parser.unread
        finally:
            self.parsers.discard(parser)
        if sending:
            linger(client, self.patience.linger)
        client.close()

    def _make_room(self) -> None:
        """Close the connections that have been without a request the longest."""
        without = [parser for parser in self.parsers if parser.unreader.in_head]
        for parser in nsmallest(ROOM, without, key=lambda parser: parser.unreader.began):
            self.parsers.discard(parser)
            _expect_no_more(parser.unreader.sock)

    def _serve_requests(self, parser: Parser, name: Any, client: socket.socket, address: Any) -> None:
        for request in parser:
            if not self.respond(request, client, address, name, last=not self.alive or parser.pipelines_too_many):
                return
            if parser.pipelined:
                take_turn()
            if not self.alive:
                _expect_no_more(client)


def _expect_no_more(client: socket.socket) -> None:
    """Shut down reading from a client, so that an idle connection closes; a request already received is still read.

    gevent's own `shutdown` would interrupt the wait and lose that request.
    """
    with suppress(OSError):
        client._sock.shutdown(socket.SHUT_RD)  # type: ignore[attr-defined]
