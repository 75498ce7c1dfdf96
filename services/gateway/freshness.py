"""Read what an answer says about being stored and shared (RFC 9111), as pure functions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from services.gateway.headers import Headers, reaches_upstream

STATUSES = frozenset(("200", "203", "204", "300", "301", "302", "307", "308", "404", "410"))
STALE_IF_ERROR = 600  # seconds, where the service says nothing else
LONGEST = 2**31
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_directive = re.compile(rf'({_TOKEN})(?:=(?:"((?:[^"\\]|\\.)*)"|({_TOKEN})))?[ \t]*(?:,[ \t,]*|\Z)')
# What of a dictionary (RFC 8941, section 3.2) has a meaning in CDN-Cache-Control (RFC 9213).
_structured = re.compile(
    r"[a-z*][\w.*-]*(?:=\d{1,15})?(?:[ \t]*,[ \t]*[a-z*][\w.*-]*(?:=\d{1,15})?)*", re.ASCII
).fullmatch
_entity_tag = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
# What the cache itself takes from a request before it asks; an answer that depends on it is never shared.
_WITHHELD = frozenset(("authorization", "cookie", "host", "origin", "range"))

# What a service says to the cache, and what the cache says itself.
_INSIDE = frozenset(("cache-tag", "cdn-cache-control", "view-of", "x-cache", "cache-status"))


@dataclass(frozen=True, slots=True)
class Rules:
    """What is ours besides RFC 9111: which directives an answer needs to be kept, and how clients see its headers."""

    needed: frozenset[str]
    outward: Callable[[Headers], Headers]


@dataclass(frozen=True, slots=True)
class Terms:
    """For how many seconds an answer is fresh, and how much longer it may be used while or unless it is renewed.

    `age` is how old it was when it came; `names` are the request headers that it depends on.
    """

    lifetime: int
    while_revalidating: int
    if_error: int
    age: int
    names: tuple[str, ...]
    tags: frozenset[str]


def terms(status: str, headers: Headers, needed: frozenset[str]) -> Terms | None:
    """Return the terms of an answer that everybody may share, None for any other (RFC 9111, section 3).

    `needed` are the directives without which nothing is shared. What is written in a way that readers could take
    differently (a directive twice, a number that is none) is not.
    """
    targeted = _values(headers, "cdn-cache-control")
    said = targeted or _values(headers, "cache-control")
    if not said or status[:3] not in STATUSES or _values(headers, "set-cookie"):
        return None
    if targeted and not _structured(targeted):
        return None
    directives, names = parse_directives(said), _vary(headers)
    if directives is None or names is None or not needed <= directives.keys():
        return None
    if not directives.keys().isdisjoint(("no-store", "no-cache", "private")):
        return None
    lifetime, age = _lifetime(directives), _age(headers)
    if lifetime is None or lifetime <= age:
        return None
    grace = _seconds(directives.get("stale-while-revalidate", "0")) or 0
    if_error = _seconds(directives.get("stale-if-error", str(STALE_IF_ERROR))) or 0
    if not directives.keys().isdisjoint(("must-revalidate", "proxy-revalidate")):
        grace = if_error = 0
    return Terms(lifetime, grace, if_error, age, names, tags(headers))


def _lifetime(directives: dict[str, str]) -> int | None:
    return _seconds(directives.get("s-maxage", directives.get("max-age")))


def _age(headers: Headers) -> int:
    """Return the age of an answer when it came; of several the first, and none for what is no number."""
    return _seconds(_values(headers, "age").partition(",")[0].strip()) or 0


def parse_directives(value: str) -> dict[str, str] | None:
    """Return the directives by their names in lower case; None where the list is broken or contradicts itself."""
    found: dict[str, str] = {}
    value = value.strip(" \t,")
    position = 0
    while position < len(value):
        if not (match := _directive.match(value, position)):
            return None
        name, content = match[1].lower(), match[2] or match[3] or ""
        if found.setdefault(name, content) != content:
            return None
        position = match.end()
    return found


def tags(headers: Headers) -> frozenset[str]:
    """Return the names under which an answer can be purged."""
    return frozenset(tag for tag in map(str.strip, _values(headers, "cache-tag").split(",")) if tag)


def matches(condition: str, etag: str) -> bool:
    """Tell whether If-None-Match names the entity tag, by weak comparison (RFC 9110, section 13.1.2)."""
    if not etag or not condition:
        return False
    return condition == etag or condition.strip() == "*" or etag.removeprefix("W/") in _entity_tag.findall(condition)


def outward(headers: Headers) -> Headers:
    """Return an answer's headers for clients: nothing that is for us, and no leave for caches that we cannot purge."""
    return [
        (name, for_clients(value)) if name.lower() == "cache-control" else (name, value)
        for name, value in headers
        if name.lower() not in _INSIDE
    ]


OURS = Rules(frozenset(("public", "s-maxage")), outward)


@lru_cache(maxsize=256)
def for_clients(cache_control: str) -> str:
    """Return Cache-Control without what it says to shared caches alone."""
    if "s-maxage" not in cache_control.lower():
        return cache_control
    directives = parse_directives(cache_control) or {}
    if "max-age" not in directives:
        return "public, no-cache"
    ours = ("s-maxage", "stale-while-revalidate", "stale-if-error", "proxy-revalidate")
    return ", ".join(f"{name}={value}" if value else name for name, value in directives.items() if name not in ours)


def _vary(headers: Headers) -> tuple[str, ...] | None:
    """Return the names in Vary; None where it has one that the service does not get as the client sent it."""
    names = {name.strip().lower() for name in _values(headers, "vary").split(",")} - {"", "origin"}
    if any(name in _WITHHELD or name.startswith("if-") or not reaches_upstream(name) for name in names):
        return None
    return None if "*" in names else tuple(sorted(names))


def value_of(headers: Headers, wanted: str) -> str:
    """Return the first value of a header, or nothing."""
    return next((value for name, value in headers if name.lower() == wanted), "")


def _values(headers: Headers, wanted: str) -> str:
    return ", ".join(value for name, value in headers if name.lower() == wanted)


def _seconds(text: str | None) -> int | None:
    if not text or not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) < 10 else LONGEST
