"""Read what an answer says about being stored and shared (RFC 9111), as pure functions."""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from functools import lru_cache

from werkzeug.http import parse_date

from services.gateway.http.headers import SELECTING, Headers

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
_is_token = re.compile(_TOKEN).fullmatch

# What a service says to the cache, and what the cache says itself; Cache-Control goes out as `for_clients` has it.
_INSIDE = frozenset(("cache-control", "cache-tag", "cdn-cache-control", "view-of", "x-cache", "cache-status"))


@dataclass(frozen=True, slots=True)
class Rules:
    """What is ours besides RFC 9111.

    `needed` are the directives without which nothing is shared, `selecting` the request headers that a shared answer
    may depend on, and `outward` makes an answer's headers those that clients see.
    """

    needed: frozenset[str]
    selecting: Container[str]
    outward: Callable[[Headers], Headers]


@dataclass(frozen=True, slots=True)
class CacheLifetimes:
    """For how many seconds an answer is fresh, and how much longer it may be used while or unless it is renewed.

    `age` is how old it was when it came; `names` are the request headers that it depends on.
    """

    lifetime: int
    while_revalidating: int
    if_error: int
    age: int
    names: tuple[str, ...]
    tags: frozenset[str]


def terms(status: str, headers: Headers, rules: Rules) -> CacheLifetimes | None:
    """Return the terms of an answer that everybody may share, None for any other (RFC 9111, section 3).

    What is written in a way that readers could take differently (a directive twice, a number that is none) is not.
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


def has_already(condition: str, since: str, headers: Headers) -> bool:
    """Tell whether If-None-Match, or without it If-Modified-Since, says that the client has this answer."""
    if condition:
        return matches(condition, value_of(headers, "etag"))
    modified, known = parse_date(value_of(headers, "last-modified")), parse_date(since)
    return modified is not None and known is not None and modified <= known


def confirms(said: Headers, stored: Headers) -> bool:
    """Tell whether a 304 speaks of the stored answer, and not of a newer one (RFC 9111, section 4.3.4)."""
    etag, modified = value_of(stored, "etag"), value_of(stored, "last-modified")
    if said_etag := value_of(said, "etag"):
        return matches(said_etag, etag)
    return bool(etag or modified) and (value_of(said, "last-modified") or modified) == modified


def outward(headers: Headers) -> Headers:
    """Return an answer's headers for clients: nothing that is for us, and no leave for caches that we cannot purge."""
    passed = [item for item in headers if item[0].lower() not in _INSIDE]
    if said := _values(headers, "cache-control"):  # of several lines, one may forbid what another allows
        passed.append(("Cache-Control", for_clients(said)))
    return passed


OURS = Rules(frozenset(("public", "s-maxage")), SELECTING, outward)


@lru_cache(maxsize=256)
def for_clients(cache_control: str) -> str:
    """Return Cache-Control without what it says to shared caches alone; what cannot be read is not to be stored."""
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
    """Return the names in Vary; None where it is no list of names, or has one that a shared fetch does not send."""
    names = {name.strip(" \t").lower() for name in _values(headers, "vary").split(",")} - {"", "origin"}
    if any(not _is_token(name) or name not in selecting for name in names):
        return None
    return tuple(sorted(names))


def value_of(headers: Headers, wanted: str) -> str:
    """Return the first value of a header, or nothing."""
    return next((value for name, value in headers if name.lower() == wanted), "")


def _values(headers: Headers, wanted: str) -> str:
    return ", ".join(value for name, value in headers if name.lower() == wanted)


def _seconds(text: str | None) -> int | None:
    if not text or not (text.isascii() and text.isdigit()):
        return None
    return int(text) if len(text) < 10 else LONGEST
