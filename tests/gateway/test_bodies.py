"""Bodies that are too large, or framed in two ways."""

import io
from typing import Any

import pytest

from tests.gateway.conftest import as_user
from tests.gateway.upstreams import Upstream
from tests.gateway.wsgi_client import WsgiClient

JSON = {"Content-Type": "application/json"}


def test_a_body_that_is_announced_too_large_is_refused_at_once(client: WsgiClient, posts: Upstream) -> None:
    response = client.post("/api/posts", b"", as_user() | {"Content-Length": str(1024 * 1024 + 1)})
    assert (response.status, response.code, response.json["maxSize"]) == (413, "PAYLOAD_TOO_LARGE", 1024 * 1024)
    assert client.post("/api/posts", b"", as_user() | {"Content-Length": "9" * 4000}).status == 413
    assert posts.received == []


@pytest.mark.parametrize("target, size", [("/api/posts", 1024 * 1024), ("/api/hello", 64 * 1024)])
def test_a_chunked_body_is_refused_when_it_has_grown_too_large(client: WsgiClient, target: str, size: int) -> None:
    environ = client.environ("POST", target, as_user() | JSON | {"Transfer-Encoding": "chunked"}, b" " * (size + 1))
    del environ["CONTENT_LENGTH"]
    started: list[str] = []
    body = client.app(environ, lambda status, headers, exc_info=None: started.append(status))
    assert b"PAYLOAD_TOO_LARGE" in b"".join(body)
    body.close()  # type: ignore[attr-defined]
    assert started == ["413 Content Too Large"]


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("framing", ["CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"])
def test_a_short_body_has_come_before_a_service_is_asked(
    client: WsgiClient, posts: Upstream, method: str, framing: str
) -> None:
    """A client that drips would hold one of the few threads of the service."""
    asked: list[int] = []

    class Dripping(io.BytesIO):
        def read(self, size: Any = -1, /) -> bytes:
            asked.append(posts.connections)
            return super().read(min(size, 10_000))

    content = b"x" * (1024 * 1024)
    environ = client.environ(method, "/api/posts", as_user() | JSON, None)
    environ |= {"wsgi.input": Dripping(content), framing: str(len(content)) if framing[0] == "C" else "chunked"}
    list(client.app(environ, lambda *_: None))
    assert set(asked) == {0}
    assert [request.body for request in posts.received] == [content]


def test_an_upload_may_be_larger(client: WsgiClient) -> None:
    response = client.post("/api/upload", b"x" * 2_000_000, as_user())
    assert (response.status, response.json["size"]) == (200, 2_000_000)


@pytest.mark.parametrize("length", ["-1", "+5", "5, 5", "0x5", "\u0665"])
def test_a_length_that_is_no_number_is_refused(client: WsgiClient, posts: Upstream, length: str) -> None:
    response = client.post("/api/posts", b"hello", as_user() | {"Content-Length": length})
    assert (response.status, response.code) == (400, "BAD_REQUEST")
    assert posts.received == []


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "gzip, identity", "aws-chunked"])
@pytest.mark.parametrize("target", ["/api/posts", "/api/hello", "/api/upload", "/api/proxy/httpbin.org/post"])
def test_a_compressed_body_is_refused(
    client: WsgiClient, posts: Upstream, uploads: Upstream, target: str, coding: str
) -> None:
    response = client.post(target, b"x", as_user() | JSON | {"Content-Encoding": coding})
    assert (response.status, response.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert response.header("Accept-Encoding") == "identity"
    assert posts.received == uploads.received == []


@pytest.mark.parametrize("body, coding", [(None, "gzip"), (b"", "gzip"), (b"{}", ""), (b"{}", "identity")])
def test_what_is_not_compressed_passes(client: WsgiClient, body: bytes | None, coding: str) -> None:
    headers = as_user() | JSON | {"Content-Encoding": coding}
    assert client.request("POST", "/api/posts", headers, body).status == 200


def test_two_framings_are_refused(client: WsgiClient, posts: Upstream) -> None:
    response = client.post("/api/posts", b"hello", as_user() | {"Transfer-Encoding": "chunked"})
    assert (response.status, response.code) == (400, "BAD_REQUEST")
    assert posts.received == []
