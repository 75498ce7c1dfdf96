"""Outside hosts: which are asked, at which address, with what, and what comes back."""

import gzip
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.gateway import create_app, external
from services.gateway.config import Config
from services.gateway.external import MAX_ANSWER, look_up
from shared.problems import Problem
from tests.gateway.conftest import as_user
from tests.gateway.outsiders import PUBLIC, Authority, FalseInternet, Outsider
from tests.gateway.upstreams import Behaviour, Upstream, echo, json_response, response, say
from tests.gateway.wsgi_client import Response, WsgiClient

HOST = "api.example.org"
Serve = Callable[[Behaviour], Outsider]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server_context(authority: Authority) -> ssl.SSLContext:
    return authority.server_context(HOST, "b.example.org")


@pytest.fixture
def internet() -> FalseInternet:
    return FalseInternet()


@pytest.fixture
def host(internet: FalseInternet, server_context: ssl.SSLContext) -> Iterator[Serve]:
    """Start the host that every address leads to."""
    started: list[Outsider] = []

    def start(behaviour: Behaviour) -> Outsider:
        started.append(Outsider(behaviour, context=server_context))
        internet.port = started[-1].port
        return started[-1]

    yield start
    for outsider in started:
        outsider.close()


@pytest.fixture
def gateway(settings: dict[str, str], internet: FalseInternet, authority: Authority) -> Iterator[WsgiClient]:
    app = create_app(Config.load(settings | {"PROXY_ALLOWED_HOSTS": f"{HOST}, b.example.org"}))
    app.extensions["postern.outside"] = internet.outside(authority.client_context(), HOST, "b.example.org", total=2)
    yield WsgiClient(app)
    for stop in app.extensions["postern.shutdown"]:
        stop()


def ask(gateway: WsgiClient, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.request(method, f"/api/proxy/{path}", as_user() | sent, body)


def header_names(answer: Response) -> set[str]:
    return {name.lower() for name, _ in answer.headers}


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


def test_it_needs_a_signed_in_user_whatever_the_method(gateway: WsgiClient, internet: FalseInternet) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = gateway.request(method, f"/api/proxy/{HOST}/x")
        assert answer.status == 401
    assert internet.resolved == []


SPELLINGS = [
    "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "0", "localhost",
    "LOCALHOST", "localhost.localdomain", "169.254.169.254", "2852039166", "0xa9fea9fe", "metadata.google.internal",
    "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "%5B::1%5D", "::1", "[::]",
    f"{HOST}@127.0.0.1", f"127.0.0.1@{HOST}", f"user:pass@{HOST}", f"{HOST}%40127.0.0.1", f"{HOST}:443", f"{HOST}:80",
    f"{HOST}:22", f"{HOST}%3A22", f"{HOST}.", f"{HOST}..", f".{HOST}", f"{HOST}.evil.example", f"evil{HOST}",
    f"evil.{HOST}", "example.org", f"{HOST}%20", f"%20{HOST}", f"{HOST};x", f"{HOST},b.example.org", f"*.{HOST}",
    f"{HOST}%3F", f"{HOST}%23", f"{HOST}&x", f"{HOST}+", "api.example.org%E3%80%82", "api%E3%80%82example.org",
    "%D0%B0pi.example.org", "xn--pi-7kc.example.org", "ap%E2%93%98.example.org", "api.ex%EF%BD%81mple.org",
    "API.EXAMPLE.OR%E1%B4%B3", "https:", "evil.example", "%65vil.example",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_other_spelling_of_a_host_is_understood(gateway: WsgiClient, internet: FalseInternet, spelling: str) -> None:
    answer = ask(gateway, f"{spelling}/x")
    assert (answer.status, answer.code) == (403, "DOMAIN_NOT_ALLOWED")
    assert answer.json["allowedDomains"] == [HOST, "b.example.org"]
    assert (internet.resolved, internet.dialled) == ([], [])


@pytest.mark.parametrize(
    "target",
    [
        f"{HOST}%5C@127.0.0.1/x", f"127.0.0.1%5C@{HOST}/x", f"{HOST}%2F..%2Fx/y", f"{HOST}/../x", f"{HOST}/%2e%2e/x",
        f"{HOST}/a//b", f"{HOST}%00.evil.example/x", f"{HOST}%0d%0aX: y/x", f"{HOST}/a%0d%0ab", f"{HOST}/a%2fb",
        f"{HOST}\\@127.0.0.1/x", f"/{HOST}/x", f"https://{HOST}/x", f"{HOST}/%252e%252e/x", f"{HOST}/x#y",
        f"{HOST}/x?a=b c", "%ff.example.org/x",
    ],
)  # fmt: skip
def test_a_target_that_readers_could_disagree_about_is_refused(
    gateway: WsgiClient, internet: FalseInternet, target: str
) -> None:
    assert ask(gateway, target).status in (400, 403)
    assert (internet.resolved, internet.dialled) == ([], [])


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["100.64.0.1"], ["::1"], ["::ffff:127.0.0.1"],
        ["64:ff9b::a9fe:a9fe"], ["2002:7f00:1::"], ["2001::1"], ["fe80::1%1"], ["fd00:ec2::254"], ["224.0.0.1"],
        ["0.0.0.0"], [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "1.1.1.1", "8.8.8.8", "9.9.9.9", "::1"],
    ],
)  # fmt: skip
def test_a_host_that_leads_inside_is_not_asked(
    gateway: WsgiClient, internet: FalseInternet, addresses: list[str]
) -> None:
    internet.addresses = addresses
    answer = ask(gateway, f"{HOST}/x")
    assert (answer.status, answer.code) == (403, "DOMAIN_NOT_ALLOWED")
    assert (internet.resolved, internet.dialled) == ([HOST], [])
    assert not any(address.encode() in answer.body for address in addresses)


def test_a_name_is_looked_up_once_and_the_checked_address_is_dialled(
    gateway: WsgiClient, host: Serve, internet: FalseInternet
) -> None:
    host(echo)
    internet.addresses = ["1.1.1.1", "2606:4700::1", "1.1.1.1"]
    internet.dead = ["1.1.1.1"]
    assert ask(gateway, f"{HOST}/x").status == 200
    assert (internet.resolved, internet.dialled) == ([HOST], ["1.1.1.1", "2606:4700::1"])


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed(gateway: WsgiClient, host: Serve, internet: FalseInternet, status: str) -> None:
    host(say(response(b"", status, "Location: https://127.0.0.1/")))
    answer = ask(gateway, f"{HOST}/x")
    assert (answer.status, answer.code, answer.header("Location")) == (502, "BAD_GATEWAY", None)
    assert "redirect" in answer.json["detail"]
    assert len(internet.dialled) == 1


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_ANSWERS: dict[str, list[bytes]] = {
    "nothing": [],
    "garbage": [b"garbage\r\n\r\n"],
    "a short body": [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"],
    "a broken chunk": [CHUNKED + b"ZZ\r\n"],
    "chunks without an end": [CHUNKED + b"3\r\nabc\r\n"],
    "an announced giant": [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER + 1)],
    "a giant": [CHUNKED, *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 100, b"0\r\n\r\n"],
    "an endless head": [b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"x" * 8000 + b"\r\n"] * 20],
    "a compressed body": [response(gzip.compress(b"x" * 100), "200 OK", "Content-Encoding: gzip")],
    "a switch of protocols": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_an_answer_that_is_not_whole_or_not_plain_is_none(gateway: WsgiClient, host: Serve, case: str) -> None:
    host(say(*BAD_ANSWERS[case]))
    answer = ask(gateway, f"{HOST}/x")
    assert (answer.status, answer.code) == (502, "BAD_GATEWAY")


def test_an_answer_of_the_largest_size_comes_whole(gateway: WsgiClient, host: Serve) -> None:
    host(say(response(b"x" * (MAX_ANSWER - 1000))))
    assert len(ask(gateway, f"{HOST}/x").body) == MAX_ANSWER - 1000


def test_a_body_that_ends_with_the_connection_must_end_properly(gateway: WsgiClient, host: Serve) -> None:
    def declare_the_end(line: Any) -> None:
        line.read()
        line.send(b"HTTP/1.1 200 OK\r\n\r\nall")
        line.socket.unwrap()

    host(declare_the_end)
    assert ask(gateway, f"{HOST}/x").body == b"all"
    host(say(b"HTTP/1.1 200 OK\r\n\r\nsome"))
    assert ask(gateway, f"{HOST}/x").status == 502


def drip(line: Any) -> None:
    line.read()
    line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(100):
        line.send(b"x")
        time.sleep(0.05)


def hang(line: Any) -> None:
    line.read()
    line.wait_for_close()


def stay_silent(line: Any) -> None:
    line.wait_for_close()


@pytest.mark.parametrize("behaviour", [drip, hang])
def test_the_time_is_a_total(host: Serve, internet: FalseInternet, authority: Authority, behaviour: Behaviour) -> None:
    host(behaviour)
    outside = internet.outside(authority.client_context(), HOST, total=0.3)
    started = time.monotonic()
    with pytest.raises(Problem) as caught:
        outside.ask(HOST, "GET", "/", [], b"", "ann")
    assert caught.value.code == "GATEWAY_TIMEOUT"
    assert time.monotonic() - started < 2


def test_the_handshake_is_within_the_time(internet: FalseInternet, authority: Authority) -> None:
    silent = Upstream(stay_silent)
    internet.port = int(silent.url.rsplit(":", 1)[1])
    with pytest.raises(Problem) as caught:
        internet.outside(authority.client_context(), HOST, total=0.3).ask(HOST, "GET", "/", [], b"", "ann")
    silent.close()
    assert caught.value.code == "GATEWAY_TIMEOUT"


def test_a_certificate_of_another_host_or_an_unknown_authority_is_refused(
    gateway: WsgiClient, internet: FalseInternet, authority: Authority, tmp_path: Path
) -> None:
    for context in (authority.server_context("evil.example"), Authority(tmp_path).server_context(HOST)):
        outsider = Outsider(echo, context=context)
        internet.port = outsider.port
        answer = ask(gateway, f"{HOST}/x")
        outsider.close()
        assert (answer.status, answer.code, outsider.received) == (502, "BAD_GATEWAY", [])


def test_a_host_that_cannot_be_reached_is_a_bad_gateway(gateway: WsgiClient, internet: FalseInternet) -> None:
    internet.dead = [PUBLIC]
    assert ask(gateway, f"{HOST}/x").code == "BAD_GATEWAY"
    internet.addresses = []
    assert ask(gateway, f"{HOST}/x").code == "BAD_GATEWAY"


def test_a_body_that_is_too_large_is_refused(gateway: WsgiClient, internet: FalseInternet) -> None:
    answer = ask(gateway, f"{HOST}/x", "POST", b"x" * (1024 * 1024 + 1))
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert internet.resolved == []


@pytest.mark.parametrize(
    "bound, others", [("MAX_AT_ONCE", ["SERVICE_UNAVAILABLE"] * 2), ("MAX_OF_ONE", ["SERVICE_UNAVAILABLE", "200 OK"])]
)
def test_too_many_requests_at_once_are_told_to_come_back(
    host: Serve,
    monkeypatch: pytest.MonkeyPatch,
    internet: FalseInternet,
    authority: Authority,
    bound: str,
    others: list[str],
) -> None:
    monkeypatch.setattr(external, bound, 1)
    outside = internet.outside(authority.client_context(), HOST)
    meanwhile: list[str] = []

    def ask_as(user: str) -> str:
        try:
            return outside.ask(HOST, "GET", "/", [], b"", user).status
        except Problem as problem:
            return problem.code

    def answer(line: Any) -> None:
        if line.read() and not meanwhile:
            meanwhile.append(ask_as("ann"))
            meanwhile.append(ask_as("bob"))
        line.send(json_response({}))

    host(answer)
    assert ask_as("ann") == "200 OK"
    assert meanwhile == others
    assert ask_as("ann") == "200 OK"


def test_the_systems_resolver_is_asked() -> None:
    assert {str(address) for address in look_up("localhost", 5)} <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError):
        look_up("nothing.invalid", 5)


UNDER_THE_LOOP = """
from gevent import monkey
monkey.patch_all()
import ssl, sys
from tests.gateway.outsiders import FalseInternet
port, ca, host = int(sys.argv[1]), sys.argv[2], sys.argv[3]
outside = FalseInternet(port).outside(ssl.create_default_context(cafile=ca), host)
print(outside.ask(host, "GET", "/", [], b"", "ann").status)
"""


def test_it_works_under_the_event_loop(host: Serve, authority: Authority) -> None:
    outsider = host(say(response(b"x" * 200_000)))
    command = [sys.executable, "-c", UNDER_THE_LOOP, str(outsider.port), str(authority.file), HOST]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=Path(__file__).parents[2])
    assert done.stdout == "200 OK\n", done.stderr
