"""Serve all live streams (Server-Sent Events) of this process from one thread with an event loop.

A stream is a socket and a position in the event log. Streams that are up to date get new events at once. A stream that
is behind, since its client has just reconnected or reads slowly, catches up from the database page by page
(backpressure). So at most one page is buffered for a stream, and an idle stream needs neither a thread nor a wake-up.
"""

import logging
import random
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial

from services.messages.live_events import event_log
from services.messages.models import Event, database
from shared import clock
from shared.database.connection import drop_broken
from shared.database.errors import log_failure
from shared.identity.claims import Claims
from shared.identity.revocations import Revocations
from shared.problems import Problem

HEARTBEAT = 14.5  # seconds without an event until a comment is sent
SWEEP_INTERVAL = 0.5  # seconds between two checks for streams that have to end
POLL_INTERVAL = 0.2  # seconds between two polls for events of other processes
WRITE_TIMEOUT = 20.0  # seconds for a client to take what is sent
PAGE = 100  # events of one query
MAX_STREAMS = 2000
PER_USER = 20
PER_ADDRESS = 100
BUFFER = 64 * 1024  # bytes of the socket's send buffer
MAX_RECEIVED = 16 * 1024  # bytes that a client may send
RETRY = 2000  # milliseconds until a client reconnects
COMMENT = b":\n"  # no blank line after it, which some clients take for an event

_logger = logging.getLogger("postern.streams")


@dataclass(eq=False, slots=True)
class Stream:
    """One client of the SSE server.

    `position` is the id of the last event sent. `unsent` are bytes that the socket has not taken. With `named`, events
    have `event:` lines; without, their data has the topic.
    """

    key: str
    topics: Collection[str]
    claims: Claims | None
    position: int
    named: bool = True
    unsent: bytes = b""
    sock: socket.socket = None  # type: ignore[assignment]  # set by `take`
    received: int = 0
    since: float = 0.0  # monotonic time of the last send or, with `unsent`, since when it is stuck

    @property
    def user_id(self) -> str | None:
        return self.claims.user_id if self.claims else None

    def wants(self, event: Event) -> bool:
        return event.user_id in (None, self.user_id) and event.topic in self.topics


def encode_event(event_id: int, topic: str, data: str, named: bool) -> bytes:
    """Return an event in the format of text/event-stream; `data` is a JSON object that is not empty."""
    if named:
        return f"id: {event_id}\nevent: {topic}\ndata: {data}\n\n".encode()
    return f'id: {event_id}\ndata: {{"topic":"{topic}",{data[1:]}\n\n'.encode()


class SseServer:
    """The thread with the streams of this process."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._arriving: deque[Stream] = deque()
        self._streams: set[Stream] = set()
        self._behind: set[Stream] = set()
        self._position = 0  # position of all streams that are not behind
        self._next_sweep = 0.0
        self._failed = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def admit(self, key: str, most: int) -> None:
        """Count a new stream of a user or an address; raise RATE_LIMITED or SERVICE_UNAVAILABLE."""
        with self._lock:
            if self._stopping or self._counts.total() >= MAX_STREAMS:
                raise Problem("SERVICE_UNAVAILABLE", "There are too many streams.", retryAfter=5)
            if self._counts[key] >= most:
                raise Problem("RATE_LIMITED", f"At most {most} streams at a time.", retryAfter=10)
            self._counts[key] += 1

    def take(self, stream: Stream, sock: socket.socket, head: bytes) -> None:
        """Serve an admitted stream on a duplicate of the socket; the caller closes its own. `head` is sent first."""
        try:
            stream.sock = sock.dup()
        except OSError:  # too many open files
            self._release(stream.key)
            raise
        stream.sock.setblocking(False)
        stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        stream.unsent, stream.since = head + stream.unsent, time.monotonic()
        self._arriving.append(stream)
        self.wake()

    def wake(self) -> None:
        """Poll for events at once."""
        with suppress(OSError, AttributeError):  # it is awake already, or does not run
            self._waker.send(b".")

    def start(self) -> None:
        self._selector = selectors.DefaultSelector()  # after the fork, as the others
        self._wakened, self._waker = socket.socketpair()
        for end in (self._wakened, self._waker):
            end.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End all streams, each with a time at which to reconnect."""
        self._stopping = True
        self.wake()
        if self._thread:
            self._thread.join(2)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wait()
                self._register_new()
                self._send_events()
                if time.monotonic() >= self._next_sweep:
                    self._sweep()
        finally:
            for stream in [*self._streams, *self._arriving]:
                self._send_retry(stream)
            for part in (self._selector, self._wakened, self._waker, database):
                part.close()

    def _wait(self) -> None:
        """Wait for a wake-up, for clients that read or disconnect, or for the next poll."""
        for key, ready in self._selector.select(self._timeout()):
            stream: Stream | None = key.data
            if stream is None:
                with suppress(BlockingIOError):
                    key.fileobj.recv(4096)  # type: ignore[union-attr]
            elif ready & selectors.EVENT_READ and self._is_disconnected(stream):
                self._drop(stream)
            elif ready & selectors.EVENT_WRITE:
                self._send(stream, b"")

    def _timeout(self) -> float | None:
        if self._arriving or any(not stream.unsent for stream in self._behind):
            return SWEEP_INTERVAL if self._failed else 0
        return POLL_INTERVAL if self._streams else None

    def _is_disconnected(self, stream: Stream) -> bool:
        try:
            data = stream.sock.recv(4096)
        except BlockingIOError:
            return False
        except OSError:
            return True
        stream.received += len(data)
        return not data or stream.received > MAX_RECEIVED

    def _register_new(self) -> None:
        while self._arriving:
            stream = self._arriving.popleft()
            self._streams.add(stream)
            self._behind.add(stream)
            self._selector.register(stream.sock, selectors.EVENT_READ, stream)
            self._send(stream, b"")

    def _send_events(self) -> None:
        """Query new events once, and send them to all streams; streams outlast a database that is down."""
        try:
            if self._streams:
                self._broadcast(event_log.newest())
                for stream in [stream for stream in self._behind if not stream.unsent]:
                    self._catch_up(stream)
            self._failed = False
        except Exception as error:  # noqa: BLE001 (streams outlast a database that is down)
            if not self._failed:
                log_failure(_logger, "the log of events cannot be read", error)
            self._failed = True
            drop_broken(database)

    def _broadcast(self, newest: int) -> None:
        if len(self._behind) == len(self._streams):
            self._position = newest
            return
        while self._position < newest:
            events = event_log.page(self._position, newest, PAGE)
            self._position = events[-1].id if len(events) == PAGE else newest
            encoded = cache(partial(_encode, events))
            for stream in self._streams - self._behind:
                if stream.unsent:
                    self._behind.add(stream)
                else:
                    pairs = zip(events, encoded(stream.named), strict=True)
                    self._send(stream, b"".join(text for event, text in pairs if stream.wants(event)))
                    stream.position = self._position

    def _catch_up(self, stream: Stream) -> None:
        """Send a page of the events that the stream has missed."""
        events = event_log.page_for(stream.user_id, stream.topics, stream.position, self._position, PAGE)
        if len(events) == PAGE:
            stream.position = events[-1].id
        else:
            stream.position = self._position
            self._behind.discard(stream)
        self._send(stream, b"".join(_encode(events, stream.named)))

    def _send(self, stream: Stream, data: bytes) -> None:
        """Send what the socket takes; the rest stays in `unsent`."""
        waited = bool(stream.unsent)
        if not (waited or data):
            return
        unsent = stream.unsent + data
        try:
            stream.unsent = unsent[stream.sock.send(unsent) :]
        except BlockingIOError:
            stream.unsent = unsent
        except OSError:
            self._drop(stream)
            return
        if not (waited and stream.unsent):
            stream.since = time.monotonic()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if stream.unsent else 0)
        self._selector.modify(stream.sock, wanted, stream)

    def _sweep(self) -> None:
        """Send heartbeats; end streams whose token has expired or is revoked, or whose client does not read."""
        now, moment = time.monotonic(), clock.now().timestamp()
        self._next_sweep = now + SWEEP_INTERVAL
        for stream in list(self._streams):
            silence = now - stream.since
            if self._is_over(stream.claims, moment) or (stream.unsent and silence > WRITE_TIMEOUT):
                self._drop(stream)
            elif not stream.unsent and silence >= HEARTBEAT:
                self._send(stream, COMMENT)

    def _is_over(self, claims: Claims | None, moment: float) -> bool:
        return claims is not None and (claims.expires_at <= moment or self._revocations.covers(claims))

    def _send_retry(self, stream: Stream) -> None:
        """Send a random `retry:`, so that the clients reconnect over two seconds."""
        if not stream.unsent:
            with suppress(OSError):
                stream.sock.send(b"retry: %d\n\n" % random.randint(500, 500 + RETRY))  # noqa: S311 (no secret)
        stream.sock.close()

    def _drop(self, stream: Stream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)
            self._behind.discard(stream)
            self._selector.unregister(stream.sock)
            stream.sock.close()
            self._release(stream.key)

    def _release(self, key: str) -> None:
        with self._lock:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]


def _encode(events: Iterable[Event], named: bool) -> list[bytes]:
    return [encode_event(event.id, event.topic, event.data, named) for event in events]


def stream_start(position: int, resync: bool, named: bool) -> bytes:
    """Return the start of a stream: `retry:`, the event `connected` and, after lost events, `resync`."""
    start = b"retry: %d\n" % RETRY + encode_event(position, "connected", '{"type":"connected"}', named)
    return start + encode_event(position, "resync", '{"type":"resync"}', named) if resync else start
