"""Decide from a response's headers whether and how long a shared cache may store it (RFC 9111); pure functions."""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import lru_cache

from werkzeug.http import parse_date

from services.gateway.http.headers import SELECTING, Headers

STATUSES = frozenset(("200", "203", "204", "300", "301", "302", "307", "308", "404", "410"))
STALE_IF_ERROR = 600  # seconds, the default without the directive
LONGEST = 2**31
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_directive = re.compile(rf'({_TOKEN})(?:=(?:"((?:[^"\\]|\\.)*)"|({_TOKEN})))?[ \t]*(?:,[ \t,]*|\Z)')
# The part of dictionaries (RFC 8941, section 3.2) that means something in CDN-Cache-Control (RFC 9213).
_structured = re.compile(
    r"[a-z*][\w.*-]*(?:=\d{1,15})?(?:[ \t]*,[ \t]*[a-z*][\w.*-]*(?:=\d{1,15})?)*", re.ASCII
).fullmatch
_entity_tag = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_is_token = re.compile(_TOKEN).fullmatch

# Headers from the service to the cache, and those that the cache sets itself; `for_clients` rewrites Cache-Control.
_INSIDE = frozenset(("cache-control", "cache-tag", "cdn-cache-control", "view-of", "x-cache", "cache-status"))


@dataclass(frozen=True, slots=True)
class Rules:
    """The policy of this cache besides RFC 9111.

    Only responses with all directives of `needed` are stored. `selecting` are the request headers that Vary may name.
    `outward` turns a service's headers into those for clients.
    """

    needed: frozenset[str]
    selecting: Container[str]
    outward: Callable[[Headers], Headers]


@dataclass(frozen=True, slots=True)
class CacheLifetimes:
    """Seconds that a response is fresh, and seconds after that in which it may be served stale (RFC 5861).

    `age` is its Age in seconds when it arrived; `names` are the request headers in its Vary, in lower case.
    """

    lifetime: int
    stale_while_revalidate: int
    stale_if_error: int
    age: int
    names: tuple[str, ...]
    tags: frozenset[str]


def lifetimes(status: str, headers: Headers, rules: Rules) -> CacheLifetimes | None:
    """Return the lifetimes of a response that clients may share, None if it must not be stored (RFC 9111, section 3).

    Ambiguous headers forbid storing, for example `max-age=60, max-age=5` or `s-maxage=1h`.
    """
    targeted = _values(headers, "cdn-cache-control")
    said = targeted or _values(headers, "cache-control")
    if not said or status[:3] not in STATUSES or _values(headers, "set-cookie"):
        return None
    if targeted and not _structured(targeted):
        return None
    directives, names = parse_directives(said), _vary(headers, rules.selecting)
    if directives is None or names is None or not rules.needed <= directives.keys():
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
    return CacheLifetimes(lifetime, grace, if_error, age, names, tags(headers))


def _lifetime(directives: dict[str, str]) -> int | None:
    return _seconds(directives.get("s-maxage", directives.get("max-age")))


def _age(headers: Headers) -> int:
    """Return the first value of Age in seconds, 0 if it is missing or not a number (RFC 9111, section 5.1)."""
    return _seconds(_values(headers, "age").partition(",")[0].strip()) or 0


def parse_directives(value: str) -> dict[str, str] | None:
    """Return the directives by lower-case name, None if the list is malformed or has two values for one directive."""
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
    """Return the cache tags of a response, by which it can be purged."""
    return frozenset(tag for tag in map(str.strip, _values(headers, "cache-tag").split(",")) if tag)


def etag_matches(condition: str, etag: str) -> bool:
    """Return whether If-None-Match names the entity tag, by weak comparison (RFC 9110, section 13.1.2)."""
    if not etag or not condition:
        return False
    return condition == etag or condition.strip() == "*" or etag.removeprefix("W/") in _entity_tag.findall(condition)


def is_not_modified(condition: str, since: str, headers: Headers) -> bool:
    """Return whether If-None-Match, or without it If-Modified-Since, calls for a 304 (RFC 9110, section 13.2.2)."""
    if condition:
        return etag_matches(condition, value_of(headers, "etag"))
    modified, known = parse_date(value_of(headers, "last-modified")), parse_date(since)
    return modified is not None and known is not None and modified <= known


def validates(said: Headers, stored: Headers) -> bool:
    """Return whether the validators of a 304 select the stored response (RFC 9111, section 4.3.4)."""
    etag, modified = value_of(stored, "etag"), value_of(stored, "last-modified")
    if said_etag := value_of(said, "etag"):
        return etag_matches(said_etag, etag)
    return bool(etag or modified) and (value_of(said, "last-modified") or modified) == modified


def outward(headers: Headers) -> Headers:
    """Return the headers for clients: without those for this cache, and without leave for caches beyond our purges."""
    passed = [item for item in headers if item[0].lower() not in _INSIDE]
    if said := _values(headers, "cache-control"):  # of several lines, one may forbid what another allows
        passed.append(("Cache-Control", for_clients(said)))
    return passed


OURS = Rules(frozenset(("public", "s-maxage")), SELECTING, outward)


@lru_cache(maxsize=256)
def for_clients(cache_control: str) -> str:
    """Return Cache-Control without the directives for shared caches; `no-store` if it is malformed."""
    if "s-maxage" not in cache_control.lower():
        return cache_control
    directives = parse_directives(cache_control)
    if directives is None:
        return "no-store"
    kept = [_written(name, value) for name, value in directives.items() if name not in _FOR_SHARED]
    if directives.keys().isdisjoint(("max-age", "no-cache", "no-store")):
        kept.append("no-cache")
    return ", ".join(kept)


_FOR_SHARED = frozenset(("s-maxage", "stale-while-revalidate", "stale-if-error", "proxy-revalidate"))


def _written(name: str, value: str) -> str:
    if not value:
        return name
    return f"{name}={value}" if value.isdigit() else f'{name}="{value}"'


def _vary(headers: Headers, selecting: Container[str]) -> tuple[str, ...] | None:
    """Return the names in Vary; None if it is malformed or names a header that `shared_request` does not send."""
    names = {name.strip(" \t").lower() for name in _values(headers, "vary").split(",")} - {"", "origin"}
    if any(not _is_token(name) or name not in selecting for name in names):
        return None
    return tuple(sorted(names))


def value_of(headers: Headers, wanted: str) -> str:
    """Return the first value of a header, or an empty string."""
    return next((value for name, value in headers if name.lower() == wanted), "")


def _values(headers: Headers, wanted: str) -> str:
    return ", ".join(value for name, value in headers if name.lower() == wanted)


def _seconds(text: str | None) -> int | None:
    if not text or not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) < 10 else LONGEST
