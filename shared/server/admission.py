"""Admission control: a request to an expensive route waits in the main loop, where it occupies no thread."""

import re
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from flask import Flask

from shared.client_address import client_address, limiter_key
from shared.concurrency import Bulkhead
from shared.problems import Problem

View = TypeVar("View", bound=Callable[..., Any])
_forwarded_for = re.compile(rb"(?im)^x-forwarded-for:([^\r\n]*)").findall
_variable = re.compile(r"<[^>]+>").split


def expensive(view: View) -> View:
    """Limit how many requests run the view at the same time; further ones wait without a thread."""
    view.expensive = True  # type: ignore[attr-defined]
    return view


class WaitingRequest:
    """A request that waits, runs or is refused; `set` starts it (the interface of `threading.Event` for Bulkhead)."""

    def __init__(self, client: str, deadline: float, start: Callable[[], None]) -> None:
        self.client = client
        self.deadline = deadline
        self.start = start
        self.refusal: Problem | None = None
        self.granted_at: float | None = None

    def set(self) -> None:
        self.granted_at = monotonic()
        self.start()

    def is_set(self) -> bool:
        return self.granted_at is not None


class Admission:
    """A bulkhead for the expensive views of an app, fair between client addresses (IPv6 by /64).

    The main loop of a worker calls all its methods. A regular expression finds the route in the first bytes of the
    request, since the gateway sends paths in one spelling.
    """

    def __init__(self, app: Flask, bulkhead: Bulkhead) -> None:
        self._pattern = re.compile("|".join(_request_lines(app)).encode())
        self._bulkhead = bulkhead
        self._waiting: deque[WaitingRequest] = deque()  # earliest deadline first

    def concerns(self, head: bytes | bytearray) -> bool:
        return self._pattern.match(head) is not None

    def enter(self, head: bytes | bytearray, peer: Any, start: Callable[[], None]) -> WaitingRequest:
        """Call `start` when the request is admitted or refused: at once, in a `leave`, or in `refuse_late`."""
        turn = WaitingRequest(_client(head, peer), monotonic() + self._bulkhead.patience, start)
        try:
            if self._bulkhead.join(turn.client, turn):
                turn.set()
            else:
                self._waiting.append(turn)
        except Problem as refusal:
            turn.refusal = refusal
            start()
        return turn

    def leave(self, turn: WaitingRequest) -> None:
        """Release the place of a finished request, which admits the next one."""
        if turn.granted_at is not None:
            self._bulkhead.release(turn.client, monotonic() - turn.granted_at)

    def refuse_late(self) -> None:
        """Refuse the requests that have waited too long."""
        now = monotonic()
        while self._waiting and (self._waiting[0].is_set() or self._waiting[0].deadline <= now):
            turn = self._waiting.popleft()
            turn.refusal = self._bulkhead.leave(turn.client, turn)
            if turn.refusal:
                turn.start()


def _request_lines(app: Flask) -> list[str]:
    """Return a regular expression for the request line of each expensive view."""
    lines = []
    for rule in app.url_map.iter_rules():
        if getattr(app.view_functions[rule.endpoint], "expensive", False):
            path = "[^/ ?]+".join(map(re.escape, _variable(rule.rule)))
            lines += [f"{method} {path}[ ?]" for method in sorted(rule.methods or ()) if method != "OPTIONS"]
    return lines


def _client(head: bytes | bytearray, peer: Any) -> str:
    forwarded = b",".join(_forwarded_for(head)).decode("latin-1")
    environ = {"REMOTE_ADDR": peer[0] if isinstance(peer, tuple) else "", "HTTP_X_FORWARDED_FOR": forwarded}
    return limiter_key(client_address(environ))
