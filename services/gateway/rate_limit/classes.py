"""The limits of classes of routes, and what a rate limiter says of a request."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from shared.problems import Problem

MINUTE, HOUR = 60, 3600


@dataclass(frozen=True, slots=True, eq=False)  # compared and hashed by identity: once a request
class LimitClass:
    """So many requests in so many seconds."""

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
    """What the window says: whether the request may go on, how many more may, and seconds until the next frees."""

    limit: LimitClass
    allowed: bool
    remaining: int
    reset: int

    def without_this(self) -> "Verdict":
        """Return the verdict once the request was given back."""
        return self._replace(remaining=self.remaining + 1)

    def headers(self) -> list[tuple[str, str]]:
        """Return both header families (draft-ietf-httpapi-ratelimit-headers, and X-RateLimit-* for older clients)."""
        name, quota = self.limit.name, self.limit.quota
        return [
            ("RateLimit-Policy", f'"{name}";q={quota};w={self.limit.window}'),
            ("RateLimit", f'"{name}";r={self.remaining};t={self.reset}'),
            ("X-RateLimit-Limit", str(quota)),
            ("X-RateLimit-Remaining", str(self.remaining)),
            ("X-RateLimit-Reset", str(self.reset)),
        ]

    def problem(self) -> Problem:
        """Return the refusal, to be asked again after `Retry-After` seconds."""
        name, quota, window = self.limit.name, self.limit.quota, self.limit.window
        members: dict[str, Any] = {"retryAfter": self.reset, "violated-policies": [name]}
        return Problem("RATE_LIMITED", f"The limit {name} is {quota} requests in {window} seconds.", **members)


class Window(Protocol):
    """Count one request of a key and judge it; a refused one is not counted.

    `give_back` takes one that was allowed out of the count again: the newest, since only their number matters.
    """

    def hit(self, limit: LimitClass, key: str) -> Verdict: ...

    def give_back(self, limit: LimitClass, key: str) -> None: ...
