"""Serve all live streams of this process from one thread, to which the server's threads hand the connections over.

A stream is a socket and a position in the log. News goes to those that have heard all before it; whoever has not,
because it has just come back or reads slowly, is told from the database page by page, as fast as it reads. So nothing
is buffered but one page, and an idle stream costs neither a thread nor a wake-up.
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

BEAT = 14.5  # seconds of silence until a comment is sent
LOOK = 0.5  # seconds between two looks at who has to go
PAUSE = 0.2  # seconds between two questions for what other processes have appended
PATIENCE = 20.0  # seconds in which a client has to take what is sent
PAGE = 100  # events that are read at once
MAX_STREAMS = 2000
PER_USER = 20
PER_ADDRESS = 100
BUFFER = 64 * 1024  # bytes that the system keeps for a client
MAX_HEARD = 16 * 1024  # bytes that a client may send us
RETRY = 2000  # milliseconds until a client comes back
COMMENT = b":\n"  # no blank line after it, which some clients take for an event

_logger = logging.getLogger("postern.streams")


@dataclass(eq=False, slots=True)
class Stream:
    """One client: what it wants to hear, who it is, how far it has been told, and what it has not taken yet.

    With `named` its events have `event:` lines, without it their data says the topic.
    """

    key: str
    topics: Collection[str]
    claims: Claims | None
    position: int
    named: bool = True
    unsent: bytes = b""
    sock: socket.socket = None  # type: ignore[assignment]  # known when it is handed over
    heard: int = 0
    since: float = 0.0  # since when it is silent or, with something unsent, stuck

    @property
    def user_id(self) -> str | None:
        return self.claims.user_id if self.claims else None

    def wants(self, event: Event) -> bool:
        return event.user_id in (None, self.user_id) and event.topic in self.topics


def text_of(event_id: int, topic: str, data: str, named: bool) -> bytes:
    """Return an event as it is sent; `data` is a JSON object that is not empty."""
    if named:
        return f"id: {event_id}\nevent: {topic}\ndata: {data}\n\n".encode()
    return f'id: {event_id}\ndata: {{"topic":"{topic}",{data[1:]}\n\n'.encode()


class SseServer:
    """All streams of this process."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._arriving: deque[Stream] = deque()
        self._streams: set[Stream] = set()
        self._behind: set[Stream] = set()
        self._told = 0  # all streams that are not behind have been told up to here
        self._next_look = 0.0
        self._failed = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    def admit(self, key: str, most: int) -> None:
        """Count one stream more for a user or an address; raise RATE_LIMITED or SERVICE_UNAVAILABLE."""
        with self._lock:
            if self._stopping or self._counts.total() >= MAX_STREAMS:
                raise Problem("SERVICE_UNAVAILABLE", "There are too many streams.", retryAfter=5)
            if self._counts[key] >= most:
                raise Problem("RATE_LIMITED", f"At most {most} streams at a time.", retryAfter=10)
            self._counts[key] += 1

    def take(self, stream: Stream, sock: socket.socket, head: bytes) -> None:
        """Serve an admitted stream on a connection, whose descriptor the caller goes on to close."""
        try:
            stream.sock = sock.dup()
        except OSError:  # there are too many open files
            self._uncount(stream.key)
            raise
        stream.sock.setblocking(False)
        stream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        stream.unsent, stream.since = head + stream.unsent, time.monotonic()
        self._arriving.append(stream)
        self.wake()

    def wake(self) -> None:
        """Look for news at once."""
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
        """End all streams, with a hint for each when to come back."""
        self._stopping = True
        self.wake()
        if self._thread:
            self._thread.join(2)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._hear()
                self._adopt()
                self._tell()
                if time.monotonic() >= self._next_look:
                    self._look_after()
        finally:
            for stream in [*self._streams, *self._arriving]:
                self._say_goodbye(stream)
            for part in (self._selector, self._wakened, self._waker, database):
                part.close()

    def _hear(self) -> None:
        """Wait for news, for clients that read on or leave, or for the next look."""
        for key, ready in self._selector.select(self._patience()):
            stream: Stream | None = key.data
            if stream is None:
                with suppress(BlockingIOError):
                    key.fileobj.recv(4096)  # type: ignore[union-attr]
            elif ready & selectors.EVENT_READ and self._has_left(stream):
                self._drop(stream)
            elif ready & selectors.EVENT_WRITE:
                self._send(stream, b"")

    def _patience(self) -> float | None:
        if self._arriving or any(not stream.unsent for stream in self._behind):
            return LOOK if self._failed else 0
        return PAUSE if self._streams else None

    def _has_left(self, stream: Stream) -> bool:
        try:
            data = stream.sock.recv(4096)
        except BlockingIOError:
            return False
        except OSError:
            return True
        stream.heard += len(data)
        return not data or stream.heard > MAX_HEARD

    def _adopt(self) -> None:
        while self._arriving:
            stream = self._arriving.popleft()
            self._streams.add(stream)
            self._behind.add(stream)
            self._selector.register(stream.sock, selectors.EVENT_READ, stream)
            self._send(stream, b"")

    def _tell(self) -> None:
        """Read what is new, once for all, and tell it; a database that is away costs no stream."""
        try:
            if self._streams:
                self._tell_news(event_log.newest())
                for stream in [stream for stream in self._behind if not stream.unsent]:
                    self._tell_more(stream)
            self._failed = False
        except Exception as error:  # noqa: BLE001 (a database that is away ends no stream)
            if not self._failed:
                log_failure(_logger, "the log of events cannot be read", error)
            self._failed = True
            drop_broken(database)

    def _tell_news(self, newest: int) -> None:
        if len(self._behind) == len(self._streams):
            self._told = newest
            return
        while self._told < newest:
            events = event_log.page(self._told, newest, PAGE)
            self._told = events[-1].id if len(events) == PAGE else newest
            texts = cache(partial(_texts, events))
            for stream in self._streams - self._behind:
                if stream.unsent:
                    self._behind.add(stream)
                else:
                    told = zip(events, texts(stream.named), strict=True)
                    self._send(stream, b"".join(text for event, text in told if stream.wants(event)))
                    stream.position = self._told

    def _tell_more(self, stream: Stream) -> None:
        """Tell a page of what the stream has missed."""
        events = event_log.page_for(stream.user_id, stream.topics, stream.position, self._told, PAGE)
        if len(events) == PAGE:
            stream.position = events[-1].id
        else:
            stream.position = self._told
            self._behind.discard(stream)
        self._send(stream, b"".join(_texts(events, stream.named)))

    def _send(self, stream: Stream, data: bytes) -> None:
        """Send what the client takes; the rest waits until it reads on."""
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

    def _look_after(self) -> None:
        """Send comments on silent streams; end those of ended sessions, and of clients that do not read."""
        now, moment = time.monotonic(), clock.now().timestamp()
        self._next_look = now + LOOK
        for stream in list(self._streams):
            silence = now - stream.since
            if self._is_over(stream.claims, moment) or (stream.unsent and silence > PATIENCE):
                self._drop(stream)
            elif not stream.unsent and silence >= BEAT:
                self._send(stream, COMMENT)

    def _is_over(self, claims: Claims | None, moment: float) -> bool:
        return claims is not None and (claims.expires_at <= moment or self._revocations.covers(claims))

    def _say_goodbye(self, stream: Stream) -> None:
        """Spread the return of the clients over two seconds."""
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
            self._uncount(stream.key)

    def _uncount(self, key: str) -> None:
        with self._lock:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]


def _texts(events: Iterable[Event], named: bool) -> list[bytes]:
    return [text_of(event.id, event.topic, event.data, named) for event in events]


def greeting(position: int, resync: bool, named: bool) -> bytes:
    """Return what every stream begins with: how soon to come back, and from where it goes on."""
    start = b"retry: %d\n" % RETRY + text_of(position, "connected", '{"type":"connected"}', named)
    return start + text_of(position, "resync", '{"type":"resync"}', named) if resync else start
