"""The server under every service: its own error pages, its patience, and how it starts and stops."""

import socket
from pathlib import Path

import pytest

from shared.network.sockets import listen
from shared.start_error import StartError
from tests.shared.server.served import Served, assert_refused, head, read_answer, read_to_end

CHUNKED = ("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: chunked")
REFUSED = {
    "no request line": (head("nonsense"), "BAD_REQUEST"),
    "a bad method": (head("G@T / HTTP/1.1", "Host: x"), "BAD_REQUEST"),
    "a target that is not ASCII": (head("GET /\xe9 HTTP/1.1", "Host: x"), "BAD_REQUEST"),
    "a malformed version": (head("GET / HTTP/one", "Host: x"), "BAD_REQUEST"),
    "another version": (head("GET / HTTP/2.0", "Host: x"), "HTTP_VERSION_NOT_SUPPORTED"),
    "no host": (head("GET / HTTP/1.1"), "BAD_REQUEST"),
    "two hosts": (head("GET / HTTP/1.1", "Host: x", "Host: y"), "BAD_REQUEST"),
    "a host that is none": (head("GET / HTTP/1.1", "Host: x/secretword"), "BAD_REQUEST"),
    "a header without a colon": (head("GET / HTTP/1.1", "Host: x", "secretword"), "BAD_REQUEST"),
    "a space before the colon": (head("GET / HTTP/1.1", "Host: x", "secretword : 1"), "BAD_REQUEST"),
    "a folded header": (head("GET / HTTP/1.1", "Host: x", "A: b", " secretword"), "BAD_REQUEST"),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: x\n\n", "BAD_REQUEST"),
    "a bare line feed in the headers": (b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", "BAD_REQUEST"),
    "a line too long": (head(f"GET /{'a' * 8190} HTTP/1.1", "Host: x"), "URI_TOO_LONG"),
    "an endless line": (b"GET /" + b"a" * 60_000, "URI_TOO_LONG"),
    "a header too long": (head("GET / HTTP/1.1", "Host: x", f"A: {'b' * 16380}"), "HEADERS_TOO_LARGE"),
    "too many headers": (head("GET / HTTP/1.1", "Host: x", *["A: b"] * 100), "HEADERS_TOO_LARGE"),
    "endless headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000, "HEADERS_TOO_LARGE"),
    "a host with two ports": (head("GET / HTTP/1.1", "Host: secretword:1:2"), "BAD_REQUEST"),
    "a user in the target": (head("GET http://secretword@x/ HTTP/1.1", "Host: x"), "BAD_REQUEST"),
    "a target of another scheme": (head("GET ftp://secretword/ HTTP/1.1", "Host: x"), "BAD_REQUEST"),
    "a method that is not known": (head("PROPFIND / HTTP/1.1", "Host: x"), "NOT_IMPLEMENTED"),
    "a method in small letters": (head("get / HTTP/1.1", "Host: x"), "NOT_IMPLEMENTED"),
    "another expectation": (head("GET / HTTP/1.1", "Host: x", "Expect: secretword"), "EXPECTATION_FAILED"),
    "two lengths": (head("POST / HTTP/1.1", "Host: x", "Content-Length: 1", "Content-Length: 2"), "BAD_REQUEST"),
    "a length that is none": (head("POST / HTTP/1.1", "Host: x", "Content-Length: +1"), "BAD_REQUEST"),
    "length and chunks": (head(*CHUNKED, "Content-Length: 4") + b"0\r\n\r\n", "BAD_REQUEST"),
    "an unknown coding": (head("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: rot13, chunked"), "NOT_IMPLEMENTED"),
    "a coding that is not the last": (head("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: gzip"), "BAD_REQUEST"),
    "a bad chunk size": (head(*CHUNKED) + b"zz\r\nab\r\n0\r\n\r\n", "BAD_REQUEST"),
    "a chunk without its end": (head(*CHUNKED) + b"2\r\nabcd\r\n0\r\n\r\n", "BAD_REQUEST"),
    "a header the application spoils": (head("GET /bad-header HTTP/1.1", "Host: x"), "INTERNAL_ERROR"),
    "an error of the application": (head("GET /raise HTTP/1.1", "Host: x"), "INTERNAL_ERROR"),
}


@pytest.mark.parametrize("request_bytes, code", REFUSED.values(), ids=REFUSED)
def test_what_is_no_valid_request_is_refused_in_the_one_shape(server: Served, request_bytes: bytes, code: str) -> None:
    [answer] = server.exchange(request_bytes)
    assert_refused(answer, code)
    assert b"secret" not in answer.body
    assert b"rot13" not in answer.body
    assert server.logged(answer.headers["X-Request-ID"])["status"] == answer.status


def test_a_refused_request_is_logged_with_its_method_and_path(server: Served) -> None:
    answer = server.ask(head("GET /known?token=abc HTTP/1.1", "Host: x", "bad header"))
    assert answer.json["instance"] == "/known"
    line = server.logged(answer.headers["X-Request-ID"])
    assert (line["method"], line["path"], line["message"]) == ("GET", "/known", "request")


def test_a_refused_head_request_gets_no_body(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("HEAD / HTTP/1.1", "Host: x", "bad header"))
        received = read_to_end(client)
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/", "/bad-header"])
def test_no_answer_names_the_software(server: Served, path: str) -> None:
    answer = server.get(path)
    assert "gunicorn" not in str(answer.headers).lower()
    assert answer.headers.get("Server", "postern") == "postern"


def test_headers_of_a_proxy_are_not_believed(server: Served) -> None:
    forged = ["SCRIPT_NAME: /evil", "X-Forwarded-Proto: https", "X-Forwarded-Ssl: on", "Path_Info: /evil"]
    about = server.ask(head("GET /evil/x HTTP/1.1", "Host: x", *forged)).json
    assert (about["path"], about["script"], about["scheme"]) == ("/evil/x", "", "http")
    assert not {"HTTP_SCRIPT_NAME", "HTTP_PATH_INFO"} & about["headers"].keys()


def test_requests_of_one_connection_are_answered_in_order(server: Served) -> None:
    chunked = b"POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    with_length = b"POST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
    last = head("GET /4 HTTP/1.1", "Host: x", "Connection: close")
    answers = server.exchange(head("GET /1 HTTP/1.1", "Host: x") + chunked + with_length + last)
    assert [(answer.json["path"], answer.json["length"]) for answer in answers] == [
        ("/1", 0), ("/2", 3), ("/3", 5), ("/4", 0),
    ]  # fmt: skip


def test_a_request_may_arrive_byte_by_byte(server: Served) -> None:
    with server.connect() as client:
        for byte in b"\r\nPOST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab":
            client.sendall(bytes([byte]))
        assert read_answer(client).json["length"] == 2


def test_a_body_is_waited_for_when_100_was_asked_for(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("POST / HTTP/1.1", "Host: x", "Content-Length: 2", "Expect: 100-continue"))
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ab")
        assert read_answer(client).json["length"] == 2
        client.sendall(head("GET / HTTP/1.1", "Host: x"))  # the connection goes on
        assert read_answer(client).status == 200


@pytest.mark.parametrize("framing", ["Content-Length: 200000000", "Transfer-Encoding: chunked"])
def test_a_body_that_nobody_reads_is_not_asked_for(server: Served, framing: str) -> None:
    request = head("POST /ignore HTTP/1.1", "Host: x", framing, "Expect: 100-continue")
    with server.connect() as client:
        client.sendall(request)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in received
    assert received.endswith(b"not read")


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("POST / HTTP/1.1", "Host: x", "Content-Length: 10") + b"abc",
        head(*CHUNKED) + b"5\r\nab",
        head(*CHUNKED) + b"2\r\nab\r\n",
        head(*CHUNKED) + b"2\r\nab\r\n0\r\n",
    ],
)
def test_a_body_that_breaks_off_is_never_taken_for_whole(server: Served, request_bytes: bytes) -> None:
    [answer] = server.exchange(request_bytes, half_close=True)
    assert_refused(answer, "BAD_REQUEST")


@pytest.mark.parametrize("size", [10_000, 12_000_000])
def test_a_client_that_sends_everything_first_sees_the_refusal(server: Served, size: int) -> None:
    with server.connect() as client:
        client.sendall(head("POST /ignore HTTP/1.1", "Host: x", f"Content-Length: {size}") + b"a" * size)
        assert read_answer(client).status == 401
        client.sendall(head("GET / HTTP/1.1", "Host: x"))
        assert read_answer(client).status == 200


def test_a_client_that_sends_after_a_broken_head_sees_the_refusal(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("POST / HTTP/1.1", "Host: x", "bad header"))
        client.sendall(b"a" * 12_000_000)
        assert_refused(read_answer(client), "BAD_REQUEST")


def test_an_answer_is_streamed_as_it_is_made(server: Served) -> None:
    with server.connect() as client:
        client.sendall(head("GET /stream HTTP/1.1", "Host: x"))
        received = b""
        while received.count(b"x" * 10) < 1:
            received += client.recv(1000)
        assert received.count(b"x" * 10) == 1


def test_background_work_starts_once_in_each_worker_after_the_fork(server: Served) -> None:
    processes = server.get("/processes").json
    assert processes["started"] == [processes["worker"]]
    assert processes["master"] == server.process.pid


def test_tls_works_in_a_worker(server: Served, tls_server: tuple[int, Path]) -> None:
    port, certificate = tls_server
    answer = server.get(f"/tls/{port}?ca={certificate}")
    assert (answer.status, answer.body) == (200, b"over TLS")


def test_a_taken_port_is_told_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        with pytest.raises(StartError, match=f"Port {port} is already in use .* or set TOY_PORT"):
            listen("127.0.0.1", port, "TOY_PORT")


def test_an_address_of_another_machine_is_told_plainly() -> None:
    with pytest.raises(StartError, match=r"203\.0\.113\.1 is no address of this machine: correct HOST"):
        listen("203.0.113.1", 0, "TOY_PORT")
