"""Answers of outside hosts that are late, broken, too large or not to be trusted."""

import gzip
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from services.gateway.outside import client
from services.gateway.outside.pinned_connection import MAX_BODY
from shared.problems import Problem
from tests.gateway.outside.asking import HOST, Serve, ask
from tests.gateway.outsiders import PUBLIC, Authority, FalseInternet, Outsider
from tests.gateway.upstreams import Behaviour, Upstream, echo, hold, json_response, response, say
from tests.gateway.wsgi_client import WsgiClient


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
    "an announced giant": [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY + 1)],
    "a giant": [CHUNKED, *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 100, b"0\r\n\r\n"],
    "an endless head": [b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"x" * 8000 + b"\r\n"] * 20],
    "tiny chunks": [CHUNKED, b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n"],
    "endless trailers": [CHUNKED + b"1\r\nx\r\n0\r\n", b"a: b\r\n" * 100_000 + b"\r\n"],
    "endless interim answers": [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 10_000 + response(b"x")],
    "a control character": [response(b"x", "200 OK", "ETag: a\x00b")],
    "two codings": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"],
    "a signed length": [b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx"],
    "two lengths": [b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"],
    "a compressed body": [response(gzip.compress(b"x" * 100), "200 OK", "Content-Encoding: gzip")],
    "a switch of protocols": [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
}


@pytest.mark.parametrize("case", BAD_ANSWERS)
def test_an_answer_that_is_not_whole_or_not_plain_is_none(gateway: WsgiClient, host: Serve, case: str) -> None:
    host(say(*BAD_ANSWERS[case]))
    answer = ask(gateway, f"{HOST}/x")
    assert (answer.status, answer.code) == (502, "BAD_GATEWAY")


def test_an_answer_of_the_largest_size_comes_whole(gateway: WsgiClient, host: Serve) -> None:
    host(say(response(b"x" * (MAX_BODY - 1000))))
    assert len(ask(gateway, f"{HOST}/x").body) == MAX_BODY - 1000


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


def drip_a_head(line: Any) -> None:
    line.read()
    line.send(b"HTTP/1.1 200 OK\r\n")
    for _ in range(100):
        line.send(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize("behaviour", [drip, drip_a_head, hold()])
def test_the_time_is_a_total(host: Serve, internet: FalseInternet, authority: Authority, behaviour: Behaviour) -> None:
    host(behaviour)
    outside = internet.outside(authority.client_context(), HOST, total=0.3)
    started = time.monotonic()
    with pytest.raises(Problem) as caught:
        outside.ask(HOST, "GET", "/", [], b"", "ann")
    assert caught.value.code == "GATEWAY_TIMEOUT"
    assert time.monotonic() - started < 4


def test_the_handshake_is_within_the_time(internet: FalseInternet, authority: Authority) -> None:
    silent = Upstream(hold())
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


def test_a_common_name_proves_no_host(gateway: WsgiClient, internet: FalseInternet, authority: Authority) -> None:
    outsider = Outsider(echo, context=authority.server_context(common_name=HOST))
    internet.port = outsider.port
    answer = ask(gateway, f"{HOST}/x")
    outsider.close()
    assert (answer.status, answer.code, outsider.received) == (502, "BAD_GATEWAY", [])


def test_an_interim_answer_is_passed_over(gateway: WsgiClient, host: Serve) -> None:
    host(say(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + response(b"all", "201 Created")))
    answer = ask(gateway, f"{HOST}/x")
    assert (answer.status, answer.body) == (201, b"all")


def test_honest_chunks_are_read(gateway: WsgiClient, host: Serve) -> None:
    host(say(CHUNKED, *[b"2000\r\n" + b"x" * 8192 + b"\r\n"] * 300, b"0\r\n\r\n"))
    assert len(ask(gateway, f"{HOST}/x").body) == 300 * 8192


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
    "bound, others",
    [
        ("MAX_AT_ONCE", ["SERVICE_UNAVAILABLE"] * 2),
        ("MAX_PER_HOST", ["SERVICE_UNAVAILABLE"] * 2),
        ("MAX_PER_USER", ["SERVICE_UNAVAILABLE", "200 OK"]),
    ],
)
def test_too_many_requests_at_once_are_told_to_come_back(
    host: Serve,
    monkeypatch: pytest.MonkeyPatch,
    internet: FalseInternet,
    authority: Authority,
    bound: str,
    others: list[str],
) -> None:
    monkeypatch.setattr(client, bound, 1)
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=Path(__file__).parents[3])
    assert done.stdout == "200 OK\n", done.stderr
