"""The rate limits of classes of routes, and the result for one request."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from shared.problems import Problem

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: once a request
class LimitClass:
    """At most `quota` requests in `window` seconds."""

    name: str
    quota: int
    window: int


CLASSES = {
    known.name: known
    for known in (
        LimitClass("general", 100, MINUTE),
        LimitClass("files", 1000, MINUTE),
        LimitClass("login", 10, MINUTE),
        LimitClass("register", 5, MINUTE),
        LimitClass("auth", 10, MINUTE),
        LimitClass("refresh", 100, MINUTE),  # by address, refused ones only; auth counts those of each session
        LimitClass("contact", 5, MINUTE),
        LimitClass("upload", 20, HOUR),
        LimitClass("admin", 50, MINUTE),
        LimitClass("expensive", 10, HOUR),
    )
}


class Verdict(NamedTuple):
    """The result of a hit: `remaining` requests in the window, and `reset` seconds until the oldest one leaves it."""

    limit: LimitClass
    allowed: bool
    remaining: int
    reset: int

    def refunded(self) -> "Verdict":
        """Return the verdict after the request was refunded."""
        return self._replace(remaining=self.remaining + 1)

    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of draft-ietf-httpapi-ratelimit-headers, and X-RateLimit-* for older clients."""
        name, quota = self.limit.name, self.limit.quota
        return [
            ("RateLimit-Policy", f'"{name}";q={quota};w={self.limit.window}'),
            ("RateLimit", f'"{name}";r={self.remaining};t={self.reset}'),
            ("X-RateLimit-Limit", str(quota)),
            ("X-RateLimit-Remaining", str(self.remaining)),
            ("X-RateLimit-Reset", str(self.reset)),
        ]

    def problem(self) -> Problem:
        """Return the problem RATE_LIMITED with its `Retry-After` in seconds."""
        name, quota, window = self.limit.name, self.limit.quota, self.limit.window
        members: dict[str, Any] = {"retryAfter": self.reset, "violated-policies": [name]}
        return Problem("RATE_LIMITED", f"The limit {name} is {quota} requests in {window} seconds.", **members)


class Window(Protocol):
    """A moving window: `hit` counts a request of a key unless it is over the limit.

    `refund` removes the newest request of a key from the count.
    """

    def hit(self, limit: LimitClass, key: str) -> Verdict: ...

    def refund(self, limit: LimitClass, key: str) -> None: ...
