"""What an outside host gets, and what comes back."""

import pytest

from tests.gateway.outside.asking import HOST, Serve, ask, header_names
from tests.gateway.outsiders import PUBLIC, FalseInternet
from tests.gateway.upstreams import echo, response, say
from tests.gateway.wsgi_client import WsgiClient


def test_it_asks_the_host_and_passes_the_answer_back(gateway: WsgiClient, host: Serve, internet: FalseInternet) -> None:
    outsider = host(echo)
    answer = ask(gateway, f"{HOST}/posts/1?a=1&b=%20x")
    assert (answer.status, answer.header("Content-Type")) == (200, "application/json")
    assert (answer.json["method"], answer.json["target"]) == ("GET", "/posts/1?a=1&b=%20x")
    assert (internet.resolved, internet.dialled, outsider.called) == ([HOST], [PUBLIC], [HOST])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_is_passed_on_with_its_body(gateway: WsgiClient, host: Serve, method: str) -> None:
    outsider = host(echo)
    answer = ask(gateway, f"{HOST}/x", method, b"some words", Content_Type="text/plain")
    assert (answer.status, answer.json["method"], answer.json["size"]) == (200, method, 10)
    assert outsider.received[0].header("content-type") == "text/plain"


def test_a_head_is_passed_on(gateway: WsgiClient, host: Serve) -> None:
    host(say(b'HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nETag: "x"\r\n\r\n'))
    answer = ask(gateway, f"{HOST}/x", "HEAD")
    assert (answer.status, answer.body, answer.header("Content-Length")) == (200, b"", "99999999")
    assert answer.header("ETag") == '"x"'


@pytest.mark.parametrize(
    "path, target",
    [
        (HOST, "/"),
        (f"{HOST}/", "/"),
        (f"{HOST}?q=1", "/?q=1"),
        (f"{HOST}/a/", "/a/"),
        (f"{HOST}/a/b/?q", "/a/b/?q"),
        (f"{HOST}/caf%c3%a9/%41", "/caf%C3%A9/A"),
        (f"{HOST}/a%3Fb%23c", "/a%3Fb%23c"),
        (f"{HOST}/@evil.example/x", "/@evil.example/x"),
        (f"{HOST.upper()}/x", "/x"),
        ("%61pi.example.org/x", "/x"),
    ],
)
def test_the_path_that_was_authorised_is_the_one_that_is_asked(
    gateway: WsgiClient, host: Serve, path: str, target: str
) -> None:
    outsider = host(echo)
    assert ask(gateway, path).status == 200
    assert outsider.received[0].target == target
    assert outsider.received[0].header("host") == HOST


def test_nothing_tells_the_host_who_asks(gateway: WsgiClient, host: Serve) -> None:
    outsider = host(echo)
    answer = ask(
        gateway,
        f"{HOST}/x",
        Accept="text/plain",
        Origin="http://localhost:3000",
        Referer="http://localhost:3000/secret",
        Cookie="theme=dark",
        Host="gateway.example",
        User_Agent="somebody/1",
        X_Forwarded_For="192.0.2.7",
        X_Request_ID="abc",
        X_CSRF_Token="x",
        Accept_Encoding="gzip",
        Proxy_Authorization="Basic eA==",
        If_None_Match='"1"',
    )
    assert answer.status == 200
    assert dict(outsider.received[0].headers) == {
        "host": HOST,
        "user-agent": "Postern (outside proxy)",
        "accept-encoding": "identity",
        "connection": "close",
        "accept": "text/plain",
        "if-none-match": '"1"',
    }


def test_only_harmless_headers_come_back(gateway: WsgiClient, host: Serve) -> None:
    kept = ["Content-Type: text/html", 'ETag: "v1"', "Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT"]
    dropped = [
        "Set-Cookie: authToken=x", "Location: https://evil.example/", "Access-Control-Allow-Origin: *",
        "Content-Security-Policy: default-src *", "Cache-Control: public, max-age=60", "WWW-Authenticate: Basic",
        "Refresh: 0;url=https://evil.example", "X-Content-Type-Options: none", "Link: <x>; rel=preload",
        "Content-Disposition: attachment", "Clear-Site-Data: *", "Cache-Tag: x", "X-Accel-Redirect: /x",
    ]  # fmt: skip
    host(say(response(b"<script>", "201 Created", *kept, *dropped)))
    answer = ask(gateway, f"{HOST}/x")
    assert (answer.status, answer.body, answer.header("Content-Type")) == (201, b"<script>", "text/html")
    assert (answer.header("ETag"), answer.header("Content-Length")) == ('"v1"', "8")
    assert answer.header("Last-Modified") == "Sat, 01 Jan 2022 00:00:00 GMT"
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("Content-Security-Policy") == "default-src 'none'; sandbox"
    assert answer.header("Cache-Control") == "private, no-store"
    ours = {
        "vary",
        "referrer-policy",
        "x-request-id",
        "server-timing",
        "ratelimit",
        "ratelimit-policy",
        "content-length",
    }
    assert {name for name in header_names(answer) - ours if not name.startswith("x-ratelimit-")} == {
        "content-type", "etag", "last-modified", "cache-control", "x-content-type-options", "content-security-policy",
    }  # fmt: skip
