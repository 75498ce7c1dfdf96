"""A gunicorn worker with a thread pool; no thread waits for the head of a request."""

import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property, partial
from selectors import EVENT_READ
from typing import Any

from gunicorn.workers import gthread

from shared.problems import Problem
from shared.server.admission import Admission, WaitingRequest
from shared.server.error_response import RefusingWorker
from shared.server.head_parser import end_of_head
from shared.server.lifecycle import lifecycle_of
from shared.server.request_reader import BLOCK, MAX_REST, Parser, ReadTimeouts

NO_DESCRIPTOR = 0.05  # seconds until the next accept when the process is out of file descriptors
_logger = logging.getLogger("postern.server")


class ClientConnection(gthread.TConn):
    """A connection whose request head the main loop collects before a thread takes it."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, patience: ReadTimeouts) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser = Parser(sock, patience, cfg.keepalive)
        self.head = bytearray()
        self.is_late = False
        self.turn: WaitingRequest | None = None
        self.lingers = False
        self.dropped = 0

    def receive(self) -> bool:
        """Append received bytes to the head; return False if the client has disconnected."""
        if data := self._arrived():
            self.parser.pipelined = 0
            self.head += data
        return data != b""

    def _arrived(self) -> bytes | None:
        """Return received bytes, empty if the client has disconnected, None if there are none yet."""
        try:
            data: bytes | None = self.sock.recv(BLOCK)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        return data

    def ready(self) -> bool:
        """Return whether the head is complete, so that no thread has to wait for it."""
        return end_of_head(self.head) >= 0

    def requests(self) -> Parser:
        """Give the collected head to the parser."""
        self.parser.unreader.unread(bytes(self.head))
        self.head.clear()
        return self.parser

    def drop(self) -> bool:
        """Drop bytes after the last response (lingering close); return False at the end or beyond MAX_REST."""
        data = self._arrived()
        self.dropped += len(data or b"")
        return data != b"" and self.dropped < MAX_REST


class ThreadWorker(RefusingWorker, gthread.ThreadWorker):
    """gunicorn's thread worker, whose main loop also waits for request heads and for lingering connections."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lingering_conns: deque[ClientConnection] = deque()

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # out of file descriptors; the client waits in the backlog
            _logger.error("a connection could not be accepted", exc_info=error)
            time.sleep(NO_DESCRIPTOR)
            return
        self.nr_conns += 1
        self._await_head(ClientConnection(self.cfg, sock, address, listener.getsockname(), self.patience))

    @cached_property
    def admission(self) -> Admission | None:
        """Return the admission control of the application's expensive routes, if it has any."""
        return lifecycle_of(self.wsgi).admission

    def enqueue_req(self, conn: ClientConnection) -> None:
        """Pass the request to the thread pool; one to an expensive route waits for its admission first."""
        start = partial(super().enqueue_req, conn)
        if self.admission and not conn.is_late and self.admission.concerns(conn.head):
            conn.turn = self.admission.enter(conn.head, conn.client, start)
        else:
            start()

    def _await_head(self, conn: ClientConnection) -> None:
        self._watch(conn, self.pending_conns, self.patience.head, self.on_pending_socket_readable)

    def _watch(
        self,
        conn: ClientConnection,
        queue: "deque[ClientConnection]",
        seconds: float,
        react: Callable[[ClientConnection, Any], None],
    ) -> None:
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + seconds
        queue.append(conn)
        self.poller.register(conn.sock, EVENT_READ, partial(self._guarded, react, conn))

    def _guarded(self, react: Callable[[ClientConnection, Any], None], conn: ClientConnection, client: Any) -> None:
        """Close the connection on an exception, instead of ending the worker."""
        try:
            react(conn, client)
        except Exception as error:
            _logger.error("a connection failed", exc_info=error)
            for queue in (self.pending_conns, self.keepalived_conns, self.lingering_conns):
                with suppress(ValueError):
                    queue.remove(conn)
            with suppress(KeyError, ValueError):
                self.poller.unregister(conn.sock)
            self._discard(conn)

    def _leave(self, conn: ClientConnection, queue: "deque[ClientConnection]") -> None:
        self.poller.unregister(conn.sock)
        queue.remove(conn)

    def _discard(self, conn: ClientConnection) -> None:
        self.nr_conns -= 1
        conn.close()

    def on_client_socket_readable(self, conn: ClientConnection, client: socket.socket) -> None:
        """Receive the start of the next request on a kept-alive connection."""
        self._leave(conn, self.keepalived_conns)
        if not conn.receive():
            self._discard(conn)
        elif conn.ready():
            self.enqueue_req(conn)
        else:
            self._await_head(conn)

    def on_pending_socket_readable(self, conn: ClientConnection, client: socket.socket) -> None:
        """Receive more of a head; its deadline runs from its first byte."""
        silent = not conn.head
        if not conn.receive():
            self._leave(conn, self.pending_conns)
            self._discard(conn)
        elif conn.ready():
            self._leave(conn, self.pending_conns)
            self.enqueue_req(conn)
        elif silent:
            self._leave(conn, self.pending_conns)
            self._await_head(conn)

    def on_lingering_readable(self, conn: ClientConnection, client: socket.socket) -> None:
        if not conn.drop():
            self._leave(conn, self.lingering_conns)
            self._discard(conn)

    def murder_pending(self) -> None:
        """Close connections whose deadline has passed; those with a part of a head get a 408."""
        for conn in self._expired(self.pending_conns):
            if conn.head:
                conn.is_late = True
                self.enqueue_req(conn)
            else:
                self._discard(conn)
        for conn in self._expired(self.lingering_conns):
            self._discard(conn)
        if self.admission:
            self.admission.refuse_late()

    def _expired(self, queue: "deque[ClientConnection]") -> Iterator[ClientConnection]:
        now = time.monotonic()
        while queue and queue[0].timeout <= now:
            conn = queue.popleft()
            self.poller.unregister(conn.sock)
            yield conn

    def _cap_keepalive(self, deadline: float) -> None:
        """When the worker stops, end streams, and limit the wait for pending requests."""
        self.end_streams()
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def handle(self, conn: ClientConnection) -> bool:
        """Serve one request, in a thread; return whether the connection is kept alive."""
        conn.sock.settimeout(self.patience.write)
        if conn.is_late:
            conn.lingers = self.settle(Problem("REQUEST_TIMEOUT"), conn.sock, None, conn.client)
            return False
        try:
            request = next(conn.requests())
            if conn.turn and conn.turn.refusal:
                raise conn.turn.refusal
            last = not self.alive or conn.parser.pipelines_too_many or len(self.keepalived_conns) >= self.max_keepalived
            if self.respond(request, conn.sock, conn.client, conn.server, last=last) and conn.parser.finish_body():
                return True
            conn.lingers = conn.parser.unread
        except Exception as error:  # noqa: BLE001 (all are sent as a problem or logged)
            conn.lingers = self.settle(error, conn.sock, conn.parser.request, conn.client)
        return False

    def finish_request(self, conn: ClientConnection, future: "Future[bool]") -> None:
        """Keep the connection alive, close it, or linger."""
        if self.admission and conn.turn:
            self.admission.leave(conn.turn)
            conn.turn = None
        self._guarded(partial(self._go_on, future), conn, None)

    def _go_on(self, future: "Future[bool]", conn: ClientConnection, _client: Any) -> None:
        if not future.cancelled() and future.result():
            conn.head += conn.parser.unreader.take_buffered()
            if not conn.head:
                super().finish_request(conn, future)
            elif conn.ready():
                self.enqueue_req(conn)
            else:
                self._await_head(conn)
        elif conn.lingers and self._half_close(conn):
            self._watch(conn, self.lingering_conns, self.patience.linger, self.on_lingering_readable)
        else:
            self._discard(conn)

    def _half_close(self, conn: ClientConnection) -> bool:
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True
