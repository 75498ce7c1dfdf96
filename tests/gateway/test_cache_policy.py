from dataclasses import replace

import pytest

from benchmarks import cache_tests
from services.gateway.cache.policy import (
    OURS,
    CacheLifetimes,
    Rules,
    etag_matches,
    for_clients,
    is_not_modified,
    lifetimes,
    outward,
    parse_directives,
    tags,
    validates,
)
from services.gateway.http.headers import Headers

PLAIN = replace(OURS, needed=frozenset())
DATE, LATER = "Thu, 01 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 2026 00:00:01 GMT"
SHARED = ("Cache-Control", "public, s-maxage=60")


def about(*headers: tuple[str, str], status: str = "200 OK", rules: Rules = OURS) -> CacheLifetimes | None:
    return lifetimes(status, [*headers], rules)


def test_what_says_public_and_s_maxage_is_shared() -> None:
    assert about(SHARED) == CacheLifetimes(60, 0, 600, 0, (), frozenset())


@pytest.mark.parametrize(
    "said",
    [
        "", "max-age=60", "s-maxage=60", "public", "public, max-age=60", "public, s-maxage=0", "public, s-maxage",
        "public, s-maxage=", "public, s-maxage=-1", "public, s-maxage=1.5", "public, s-maxage=1e3",
        "public, s-maxage= 60", "public, s-maxage=60 60", "public, s-maxage=\u0666", "public, s-maxage=60, s-maxage=5",
        "public, s-maxage=60, no-store", "public, s-maxage=60, private", 'public, s-maxage=60, private="set-cookie"',
        "public, s-maxage=60, no-cache", 'public, s-maxage=60, no-cache="a, b"', 'public, s-maxage=60, x="open',
        "public, s-maxage=60, NO-STORE", "public; s-maxage=60", "public, xs-maxage=60",
    ],
)  # fmt: skip
def test_anything_else_is_not(said: str) -> None:
    assert about(("Cache-Control", said)) is None


@pytest.mark.parametrize(
    "said, lifetime",
    [
        ("PUBLIC, S-MaxAge=60", 60), ('public,s-maxage="60"', 60), ("public ,, s-maxage=60,", 60),
        (" public, s-maxage=60, max-age=5", 60), ('public, x="no-store, private", s-maxage=60', 60),
        ("public, s-maxage=99999999999999999999", 2**31), ("public, s-maxage=60, s-maxage=60", 60),
    ],
)  # fmt: skip
def test_directives_are_read_as_they_may_be_written(said: str, lifetime: int) -> None:
    known = about(("Cache-Control", said))
    assert known is not None
    assert known.lifetime == lifetime


@pytest.mark.parametrize(
    "said, lifetime",
    [
        ("max-age=60", 60), ("max-age=60, s-maxage=5", 5), ("s-maxage=60, max-age=5", 60), ("public", None),
        ("max-age=60, private", None), ("max-age=60, no-store", None), ("s-maxage=x, max-age=60", None),
    ],
)  # fmt: skip
def test_without_rules_of_ours_those_of_http_hold(said: str, lifetime: int | None) -> None:
    known = about(("Cache-Control", said), rules=PLAIN)
    assert (known and known.lifetime) == lifetime


@pytest.mark.parametrize(
    "said, shared",
    [
        ("public,s-maxage=60, x", True), ('public, s-maxage="60"', False), ("public, s-maxage=60, &&&", False),
        ("Public, s-maxage=60", False), ("public, s-maxage=60,", False),
    ],
)  # fmt: skip
def test_what_is_said_to_shared_caches_alone_is_a_structured_field(said: str, shared: bool) -> None:
    assert bool(about(SHARED, ("CDN-Cache-Control", said))) is shared


@pytest.mark.parametrize("age", ["soon", "-7", "7.0", "0, 7", "", "\u0667"])
def test_an_age_that_is_none_is_passed_over_and_the_first_counts(age: str) -> None:
    known = about(SHARED, ("Age", age))
    assert known is not None
    assert known.age == 0


def test_several_lines_are_one_list() -> None:
    assert about(("Cache-Control", "public"), ("cache-control", "s-maxage=60")) is not None
    assert about(SHARED, ("cache-control", "private")) is None


@pytest.mark.parametrize(
    "header",
    [
        ("Set-Cookie", "a=b"), ("Vary", "*"), ("Vary", "Accept, *"), ("Vary", "Cookie"), ("Vary", "Authorization"),
        ("Vary", "X-Forwarded-For"), ("Vary", "X-User-Id"), ("Vary", "Host"), ("Vary", "If-None-Match"),
        ("Vary", "Range"), ("Vary", "Content-Type"), ("Vary", "Content-Length"), ("Vary", "User-Agent"),
        ("Vary", "Accept Accept-Language"), ("Vary", "Accept; Accept-Language"), ("Vary", '"Accept"'),
        ("Vary", "Accept\u00a0"), ("Age", "60"), ("Age", "99999999999"),
        ("CDN-Cache-Control", "private"), ("CDN-Cache-Control", "max-age=60"),
    ],
)  # fmt: skip
def test_what_is_one_clients_or_too_old_is_never_shared(header: tuple[str, str]) -> None:
    assert about(SHARED, header) is None


@pytest.mark.parametrize("status", ["206 Partial Content", "304 Not Modified", "401 Unauthorized", "500 Oh", "503 Oh"])
def test_partial_answers_and_errors_are_not_shared(status: str) -> None:
    assert about(SHARED, status=status) is None


def test_the_headers_that_it_depends_on_are_named_but_for_the_origin_that_is_not_passed_on() -> None:
    known = about(SHARED, ("Vary", "Origin, Accept-Language"), ("vary", "ACCEPT"))
    assert known is not None
    assert known.names == ("accept", "accept-language")


def test_the_time_that_it_has_spent_elsewhere_counts() -> None:
    known = about(SHARED, ("Age", "20"))
    assert known is not None
    assert (known.lifetime, known.age) == (60, 20)


@pytest.mark.parametrize(
    "more, grace, if_error",
    [
        ("", 0, 600),
        (", stale-while-revalidate=30", 30, 600),
        (", stale-if-error=5", 0, 5),
        (", stale-while-revalidate=30, must-revalidate", 0, 0),
        (", stale-while-revalidate=30, proxy-revalidate", 0, 0),
        (", stale-while-revalidate=x, stale-if-error=x", 0, 0),
    ],
)
def test_how_long_it_may_be_used_when_stale(more: str, grace: int, if_error: int) -> None:
    known = about(("Cache-Control", "public, s-maxage=60" + more))
    assert known is not None
    assert (known.stale_while_revalidate, known.stale_if_error) == (grace, if_error)


def test_a_list_of_directives_without_end_is_read_quickly() -> None:
    assert parse_directives("a" * 50_000 + '="' + "\\" * 9_000) is None


def test_tags_are_a_list() -> None:
    headers: Headers = [("Cache-Tag", "a, b,,c "), ("cache-tag", "d")]
    assert tags(headers) == {"a", "b", "c", "d"}


def test_clients_see_neither_tags_nor_leave_for_caches_that_cannot_be_purged() -> None:
    assert outward(
        [SHARED, ("Cache-Tag", "a"), ("View-Of", "b"), ("CDN-Cache-Control", "public"), ("ETag", '"1"')]
    ) == [
        ("ETag", '"1"'),
        ("Cache-Control", "public, no-cache"),
    ]
    assert for_clients("public, max-age=5, s-maxage=60, stale-while-revalidate=9") == "public, max-age=5"
    assert for_clients("public, max-age=3600") == "public, max-age=3600"
    assert for_clients("no-store") == "no-store"


@pytest.mark.parametrize(
    "said, seen",
    [
        ("private, s-maxage=60", "private, no-cache"),
        ("s-maxage=60, no-store", "no-store"),
        ("public, s-maxage=60, private", "public, private, no-cache"),
        ('public, s-maxage=60, private="set-cookie, x"', 'public, private="set-cookie, x", no-cache'),
        ("public, s-maxage=60, no-cache", "public, no-cache"),
        ("public, s-maxage=60, must-revalidate, no-transform", "public, must-revalidate, no-transform, no-cache"),
        ("public, s-maxage=60, s-maxage=5", "no-store"),
        ('public, s-maxage=60, x="open', "no-store"),
    ],
)
def test_what_a_service_forbids_stays_forbidden_beside_s_maxage(said: str, seen: str) -> None:
    assert outward([("Cache-Control", said)]) == [("Cache-Control", seen)]


def test_what_one_line_allows_another_forbids() -> None:
    lines = [("Cache-Control", "public, s-maxage=60"), ("cache-control", "no-store")]
    assert outward(lines) == [("Cache-Control", "public, no-store")]


@pytest.mark.parametrize(
    "condition, since, has",
    [
        ('"a"', "", True),
        ('"b"', LATER, False),  # RFC 9110, section 13.2.2: the date is not looked at
        ("", DATE, True),
        ("", LATER, True),
        ("", "Wed, 31 Dec 2025 23:59:59 GMT", False),
        ("", "yesterday", False),
        ("", "Thu, 01 Jan 99999 00:00:00 GMT", False),
    ],
)
def test_a_client_has_an_answer_already_or_not(condition: str, since: str, has: bool) -> None:
    assert is_not_modified(condition, since, [("ETag", '"a"'), ("Last-Modified", DATE)]) is has
    assert not is_not_modified("", since, [("ETag", '"a"')])


TAG, OTHER_TAG = ("ETag", '"a"'), ("ETag", '"b"')
MODIFIED, MODIFIED_LATER = ("Last-Modified", DATE), ("Last-Modified", LATER)


@pytest.mark.parametrize(
    "said, stored, same",
    [
        ([TAG], [TAG], True),
        ([("ETag", 'W/"a"')], [TAG], True),
        ([OTHER_TAG], [TAG], False),
        ([OTHER_TAG, MODIFIED], [TAG, MODIFIED], False),
        ([TAG], [MODIFIED], False),
        ([MODIFIED], [MODIFIED], True),
        ([MODIFIED_LATER], [MODIFIED], False),
        ([], [TAG], True),
        ([], [], False),
    ],
)
def test_a_304_speaks_of_the_stored_answer_or_not(said: Headers, stored: Headers, same: bool) -> None:
    assert validates(said, stored) is same


@pytest.mark.parametrize(
    "condition, etag, same",
    [
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"a"', 'W/"a"', True),
        ('"b", W/"a"', '"a"', True),
        ("*", '"a"', True),
        ('"b"', '"a"', False),
        ("a", '"a"', False),
        ('"a,b"', '"b"', False),
        ('"a"', "", False),
        ("", '"a"', False),
    ],
)
def test_a_condition_names_a_tag_or_not(condition: str, etag: str, same: bool) -> None:
    assert etag_matches(condition, etag) is same


def test_the_public_tests_for_caches_still_have_a_gateway_to_test() -> None:
    assert callable(cache_tests.gateway("http://127.0.0.1:1"))
