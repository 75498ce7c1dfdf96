import re
from pathlib import Path

import pytest

from services.gateway.http import headers

CLIENT = {"client": "203.0.113.9", "scheme": "https", "host": "api.example.org", "request_id": "r1"}

# Written by the gateway, or of use to it alone.
NOT_FORWARDED = {"content-encoding", "content-length", "transfer-encoding", "x-forwarded-for", "x-request-id"}
_read = re.compile(r'\bheaders\.get\("([A-Za-z-]+)"|"([A-Za-z-]+)" in request\.headers|environ.*"(HTTP_[A-Z_]+)"')


def names(given: headers.Headers) -> set[str]:
    return {name.lower() for name, _ in given}


@pytest.mark.parametrize(
    "name",
    [
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "host", "content-length", "expect",
    ],
)  # fmt: skip
def test_what_ends_at_the_next_hop_is_not_passed_on(name: str) -> None:
    assert headers.to_upstream([(name, "x"), ("accept", "y")], **CLIENT)[0] == ("accept", "y")
    assert name not in names(headers.to_upstream([(name, "x")], **CLIENT))


@pytest.mark.parametrize(
    "name",
    [
        "forwarded", "x-forwarded-server", "x-forwarded-port", "x-forwarded-user", "x-real-ip", "x-user-id",
        "x-user-role", "x-auth-user", "x-authenticated-user", "x-internal-token", "x-postern-user", "remote-user",
        "x-original-url", "x-rewrite-url", "x-http-method-override", "true-client-ip", "proxy", "client-ip", "x-userid",
        "x-role", "x-original-uri", "x-client-cert", "x-envoy-external-address", "x-amzn-oidc-identity",
        "x-ms-client-id", "x-goog-authenticated-user-email", "ssl-client-s-dn", "content-encoding", "x-anything",
    ],
)  # fmt: skip
def test_a_client_cannot_say_who_or_where_it_is(name: str) -> None:
    assert name not in names(headers.to_upstream([(name, "forged")], **CLIENT))


@pytest.mark.parametrize(
    "name, value",
    [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "api.example.org"),
        ("x-request-id", "r1"),
    ],
)
def test_the_gateway_says_it_instead_and_once(name: str, value: str) -> None:
    passed = headers.to_upstream([(name, "forged"), ("connection", name)], **CLIENT)
    assert [known for known in passed if known[0] == name] == [(name, value)]


@pytest.mark.parametrize(
    "name", ["authorization", "referer", "traceparent", "tracestate", "if-match", "range", "x-csrf-token", "accept"]
)
def test_what_is_meant_for_the_service_is_passed_on(name: str) -> None:
    assert (name, "v") in headers.to_upstream([(name, "v")], **CLIENT)


def test_headers_named_by_connection_end_here() -> None:
    given = [("connection", "keep-alive, X-Secret,x-other"), ("x-secret", "1"), ("x-other", "2"), ("accept", "3")]
    assert headers.to_upstream(given, **CLIENT)[0] == ("accept", "3")
    back = headers.from_upstream([("Connection", "X-Secret"), ("X-Secret", "1"), ("ETag", "2")])
    assert back == [("ETag", "2")]


def test_services_get_every_header_that_they_read() -> None:
    files = [*Path("shared").rglob("*.py"), *Path("services").rglob("*.py")]
    sources = [file.read_text() for file in files if {"gateway", "workers"}.isdisjoint(file.parts)]
    names = {headers.wire_name(name) for source in sources for found in _read.findall(source) for name in found if name}
    assert {"if-match", "tus-resumable", "cookie", "origin"} <= names
    assert names - NOT_FORWARDED <= headers.FORWARDED


@pytest.mark.parametrize(
    "name",
    [
        "Transfer-Encoding", "Connection", "Keep-Alive", "Server", "Date", "X-Powered-By", "X-Request-ID",
        "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "RateLimit", "RateLimit-Policy",
        "X-RateLimit-Limit", "Strict-Transport-Security",
    ],
)  # fmt: skip
def test_what_is_the_gateways_to_say_does_not_come_back(name: str) -> None:
    assert headers.from_upstream([(name, "x")]) == []


def test_the_rest_comes_back_in_order_and_repeated() -> None:
    given = [("Content-Type", "a"), ("Set-Cookie", "b"), ("Set-Cookie", "c"), ("Content-Length", "3")]
    assert headers.from_upstream(given) == given


def test_names_are_read_from_the_wsgi_environment() -> None:
    environ = {"HTTP_IF_MATCH": '"1"', "CONTENT_TYPE": "text/plain", "CONTENT_LENGTH": "3", "wsgi.input": None}
    assert headers.from_environ(environ) == [("if-match", '"1"'), ("content-type", "text/plain")]


@pytest.mark.parametrize(
    "upstream, vary",
    [
        ([], "Origin"),
        ([("Vary", "Accept")], "Accept, Origin"),
        ([("Vary", "origin, Accept"), ("vary", "Cookie")], "Accept, Cookie, Origin"),
    ],
)
def test_every_answer_varies_by_origin(upstream: headers.Headers, vary: str) -> None:
    answer = headers.with_policies(upstream, [], private=False)
    assert [value for name, value in answer if name.lower() == "vary"] == [vary]


def test_an_answer_to_credentials_may_be_stored_by_nobody() -> None:
    upstream = [("Cache-Control", "public, s-maxage=60")]
    assert ("Cache-Control", "private, no-store") in headers.with_policies(upstream, [], private=True)
    assert upstream[0] not in headers.with_policies(upstream, [], private=True)
    assert upstream[0] in headers.with_policies(upstream, [], private=False)


def test_an_answer_that_no_proxy_may_change_stays_so_with_credentials() -> None:
    upstream = [("Cache-Control", "no-store"), ("cache-control", "No-Transform")]
    answer = headers.with_policies(upstream, [], private=True)
    assert [value for name, value in answer if name == "Cache-Control"] == ["private, no-store, no-transform"]


def test_html_gets_a_policy_unless_it_has_one() -> None:
    page = [("Content-Type", "Text/HTML; charset=utf-8")]
    assert ("Content-Security-Policy", headers.HTML_POLICY) in headers.with_policies(page, [], private=False)
    own = [*page, ("content-security-policy", "default-src 'self'")]
    assert "Content-Security-Policy" not in dict(headers.with_policies(own, [], private=False))
    assert "Content-Security-Policy" not in dict(headers.with_policies([("Content-Type", "a/b")], [], private=False))


def test_an_answer_says_nosniff_once() -> None:
    answer = headers.with_policies([("X-Content-Type-Options", "nosniff")], [], private=False)
    assert [name.lower() for name, _ in answer].count("x-content-type-options") == 1


@pytest.mark.parametrize(
    "sent, passed",
    [
        ("a=b; authToken=x; c=d;csrfToken=y", "authToken=x; csrfToken=y"),
        ("refreshToken=x; device=y", "refreshToken=x; device=y"),
        ("authToken=x; authToken=z", "authToken=x; authToken=z"),
        ("AuthToken=x; authTokens=y; =authToken; authToken", "authToken"),
        ("session=1; _ga=2", ""),
        (";;", ""),
    ],
)
def test_cookies_of_other_applications_stay_at_the_gateway(sent: str, passed: str) -> None:
    assert headers.our_cookies(sent) == passed
