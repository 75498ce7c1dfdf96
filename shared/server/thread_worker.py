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

NO_ROOM = 0.05  # seconds after which a connection is accepted again when no descriptor was left
_logger = logging.getLogger("postern.server")


class ClientConnection(gthread.TConn):
    """A client whose head is collected by the main loop, before a thread is given to it."""

    def __init__(self, cfg: Any, sock: socket.socket, client: Any, server: Any, patience: ReadTimeouts) -> None:
        super().__init__(cfg, sock, client, server)
        self.parser = Parser(sock, patience, cfg.keepalive)
        self.head = bytearray()
        self.is_late = False
        self.turn: WaitingRequest | None = None
        self.lingers = False
        self.dropped = 0

    def receive(self) -> bool:
        """Take what has arrived of a head; return False when the client has gone."""
        if data := self._arrived():
            self.parser.pipelined = 0
            self.head += data
        return data != b""

    def _arrived(self) -> bytes | None:
        """Return what has arrived, nothing when the client has gone; None when nothing has yet."""
        try:
            data: bytes | None = self.sock.recv(BLOCK)
        except BlockingIOError:
            data = None
        except OSError:
            data = b""
        return data

    def ready(self) -> bool:
        """Tell whether a thread can go on without waiting for this client."""
        return end_of_head(self.head) >= 0

    def requests(self) -> Parser:
        """Give the collected head to the parser."""
        self.parser.unreader.unread(bytes(self.head))
        self.head.clear()
        return self.parser

    def drop(self) -> bool:
        """Throw away what the client sends after its last answer; return False when that is enough."""
        data = self._arrived()
        self.dropped += len(data or b"")
        return data != b"" and self.dropped < MAX_REST


class ThreadWorker(RefusingWorker, gthread.ThreadWorker):
    """gunicorn's threads behind a main loop that waits for heads, and for refused clients to stop sending."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lingering_conns: deque[ClientConnection] = deque()

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left; the client waits in the backlog
            _logger.error("a connection could not be accepted", exc_info=error)
            time.sleep(NO_ROOM)
            return
        self.nr_conns += 1
        self._await_head(ClientConnection(self.cfg, sock, address, listener.getsockname(), self.patience))

    @cached_property
    def admission(self) -> Admission | None:
        """Return the admission control of the application's expensive routes, if it has any."""
        return lifecycle_of(self.wsgi).admission

    def enqueue_req(self, conn: ClientConnection) -> None:
        """Give the request to a thread; a request to an expensive route waits for a place first."""
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
        """Let a fault in what one connection needs end this connection, and not the worker."""
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
        """Take the beginning of the next request on a connection that was kept."""
        self._leave(conn, self.keepalived_conns)
        if not conn.receive():
            self._discard(conn)
        elif conn.ready():
            self.enqueue_req(conn)
        else:
            self._await_head(conn)

    def on_pending_socket_readable(self, conn: ClientConnection, client: socket.socket) -> None:
        """Take more of a head; its time runs from its first byte."""
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
        """End the connections whose time is up."""
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
        """When the worker stops, do not wait for streams, and only so long for clients that are to say something."""
        self.end_streams()
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def handle(self, conn: ClientConnection) -> bool:
        """Answer one request, in a thread; return whether the connection can be kept."""
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
        except Exception as error:  # noqa: BLE001 (whatever it is, it is answered or logged)
            conn.lingers = self.settle(error, conn.sock, conn.parser.request, conn.client)
        return False

    def finish_request(self, conn: ClientConnection, future: "Future[bool]") -> None:
        """Keep the connection, end it, or let the client finish sending first."""
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
