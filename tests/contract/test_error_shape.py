"""Every layer of every service refuses in the one error shape, down to the HTTP server itself."""

import gzip
import socket
from typing import NamedTuple

import orjson
import pytest

from shared.problems import CODES
from tests.e2e.stack import OWN_PATHS, SERVICES, Stack

MEMBERS = {"success", "type", "title", "status", "detail", "instance", "code", "requestId"}
POST_PATHS = {
    "gateway": "/api/hello",
    "auth": "/api/auth/register",
    "posts": "/api/posts",
    "uploads": "/api/upload",
    "messages": "/api/contact",
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def send(port: int, request: bytes) -> Answer:
    """Send raw bytes and return the first answer."""
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(request)
        file = connection.makefile("rb")
        status = int(file.readline().split()[1])
        headers: dict[str, str] = {}
        while line := file.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Answer(status, headers, file.read(int(headers.get("content-length", "0"))))


def assert_problem(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/problem+json"
    problem = orjson.loads(answer.body)
    assert problem.keys() >= MEMBERS
    assert (problem["success"], problem["status"], problem["code"]) == (False, status, code)
    assert problem["title"] == CODES[code].title
    assert problem["type"].endswith(f"/api/errors/{code}")
    assert problem["requestId"] == answer.headers["x-request-id"]
    assert not any(word in answer.body for word in (b"Traceback", b"/services/", b"SELECT", b"Error:"))


def post(path: str, body: bytes, *headers: str, token: str | None = None) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", *headers, f"Content-Length: {len(body)}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(target: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: localhost", *headers, "", ""]).encode()


JSON = "Content-Type: application/json"
AT_EVERY_PORT = {
    "an unknown path": (get("/api/nothing-here"), 404, "NOT_FOUND"),
    "a bad token": (get("/api/auth/me", "Authorization: Bearer x.y.z"), 401, "UNAUTHORIZED"),
    "a target that is too long": (get("/api/hello?" + "x" * 9000), 414, "URI_TOO_LONG"),
    "headers that are too large": (get("/api/hello", "X-Long: " + "x" * 70_000), 431, "HEADERS_TOO_LARGE"),
    "too many headers": (get("/api/hello", *(f"X-{n}: x" for n in range(300))), 431, "HEADERS_TOO_LARGE"),
    "an unknown expectation": (post("/api/hello", b"{}", JSON, "Expect: miracles"), 417, "EXPECTATION_FAILED"),
    "an unknown HTTP version": (get("/api/hello", version="3.7"), 505, "HTTP_VERSION_NOT_SUPPORTED"),
    "a header without a colon": (get("/api/hello", "nonsense"), 400, "BAD_REQUEST"),
    "two lengths": (get("/api/hello", "Content-Length: 1", "Content-Length: 2"), 400, "BAD_REQUEST"),
    "length and chunks": (
        post("/api/hello", b"0\r\n\r\n", JSON, "Transfer-Encoding: chunked"),
        400,
        "BAD_REQUEST",
    ),
    "an unknown coding": (get("/api/hello", "Transfer-Encoding: brotli, chunked"), 501, "NOT_IMPLEMENTED"),
}


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("case", AT_EVERY_PORT)
def test_every_port_refuses_in_the_one_shape(stack: Stack, service: str, case: str) -> None:
    request, status, code = AT_EVERY_PORT[case]
    request = request.replace(b"/api/auth/me", OWN_PATHS[service].encode())
    assert_problem(send(stack.ports[service], request), status, code)


@pytest.mark.parametrize("port", ["gateway", "own"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_wrong_method_is_told_the_right_ones(stack: Stack, service: str, port: str) -> None:
    request = post(POST_PATHS[service], b"").replace(b"POST", b"PATCH", 1)
    answer = send(stack.ports["gateway" if port == "gateway" else service], request)
    assert_problem(answer, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in answer.headers["allow"].split(", ")
    assert orjson.loads(answer.body)["allowedMethods"] == answer.headers["allow"].split(", ")


BAD_BODIES = {
    "no JSON": (b"{", JSON, 400, "INVALID_JSON"),
    "an empty body": (b"", JSON, 400, "INVALID_JSON"),
    "deep JSON": (b"[" * 5000 + b"]" * 5000, JSON, 400, "INVALID_JSON"),
    "a lone surrogate": (b'{"title": "\\ud800"}', JSON, 400, "INVALID_JSON"),
    "NaN": (b'{"title": NaN}', JSON, 400, "INVALID_JSON"),
    "an integer beyond 64 bits": (b'{"title": 99999999999999999999999}', JSON, 400, "INVALID_JSON"),
    "Latin-1": ('{"title": "é"}'.encode("latin-1"), JSON, 400, "INVALID_JSON"),
    "another type": (b"title=x", "Content-Type: text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
}


@pytest.mark.parametrize("port", ["gateway", "own"])
@pytest.mark.parametrize("service", ["gateway", "auth", "posts", "messages"])
@pytest.mark.parametrize("case", BAD_BODIES)
def test_every_service_refuses_a_bad_body_in_the_one_shape(stack: Stack, service: str, port: str, case: str) -> None:
    body, content_type, status, code = BAD_BODIES[case]
    token = stack.register()["accessToken"] if service == "posts" else None
    target = stack.ports["gateway" if port == "gateway" else service]
    assert_problem(send(target, post(POST_PATHS[service], body, content_type, token=token)), status, code)


@pytest.mark.parametrize("port", ["gateway", "own"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_compressed_body_is_refused(stack: Stack, service: str, port: str) -> None:
    token = stack.register()["accessToken"]
    request = post(POST_PATHS[service], gzip.compress(b"{}"), JSON, "Content-Encoding: gzip", token=token)
    answer = send(stack.ports["gateway" if port == "gateway" else service], request)
    assert_problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    assert answer.headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("port", ["gateway", "own"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_body_with_broken_chunks_is_refused(stack: Stack, service: str, port: str) -> None:
    token = stack.register()["accessToken"]
    content_type = "multipart/form-data; boundary=x" if service == "uploads" else "application/json"
    head = [
        f"POST {POST_PATHS[service]} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Authorization: Bearer {token}",
        "Transfer-Encoding: chunked",
    ]
    request = "\r\n".join([*head, "", "5\r\nhello\r\nZZ\r\n"]).encode()
    assert_problem(send(stack.ports["gateway" if port == "gateway" else service], request), 400, "BAD_REQUEST")


@pytest.mark.parametrize("port", ["gateway", "own"])
@pytest.mark.parametrize("service", SERVICES)
def test_a_body_that_is_too_large_is_refused(stack: Stack, service: str, port: str) -> None:
    token = stack.register()["accessToken"]
    content_type = "multipart/form-data; boundary=x" if service == "uploads" else "application/json"
    head = [
        f"POST {POST_PATHS[service]} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {content_type}",
        f"Authorization: Bearer {token}",
        "Content-Length: 100000000",
    ]
    answer = send(stack.ports["gateway" if port == "gateway" else service], "\r\n".join([*head, "", ""]).encode())
    assert_problem(answer, 413, "PAYLOAD_TOO_LARGE")
    assert orjson.loads(answer.body)["maxSize"] > 0
