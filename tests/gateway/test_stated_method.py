"""HTML forms that state another method than POST: the row of that method decides."""

from urllib.parse import urlencode

import pytest

from tests.gateway.conftest import as_user
from tests.gateway.upstreams import Upstream
from tests.gateway.wsgi_client import Response, WsgiClient

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
POST = "/api/posts/0197a1c2-0000-7000-8000-000000000001"


def send(client: WsgiClient, path: str, headers: dict[str, str], **fields: str) -> Response:
    return client.post(path, urlencode(fields).encode(), FORM | headers)


@pytest.mark.parametrize("path, method", [(POST, "PATCH"), (POST, "PUT"), (POST, "DELETE"), (f"{POST}/like", "PUT")])
def test_a_service_hears_of_the_method_and_of_the_whole_form(
    client: WsgiClient, posts: Upstream, path: str, method: str
) -> None:
    assert send(client, path, as_user(), title="x" * 70_000, _method=method.lower()).status == 200
    (request,) = posts.received
    assert (request.method, request.body) == (
        method,
        urlencode({"title": "x" * 70_000, "_method": method.lower()}).encode(),
    )


def test_the_row_of_the_method_decides_who_may(client: WsgiClient, posts: Upstream) -> None:
    assert send(client, POST, {}, _method="DELETE").code == "UNAUTHORIZED"
    page = send(client, POST, {"Accept": "text/html"}, _method="DELETE")
    assert (page.status, page.header("Content-Type")) == (401, "text/html; charset=utf-8")
    assert posts.received == []


@pytest.mark.parametrize("path, fields", [
    (POST, {}), (POST, {"_method": "TRACE"}), (POST, {"_method": "OPTIONS"}), (POST, {"title": "_method=DELETE"}),
    ("/api/posts", {"_method": "DELETE"}), ("/api/notifications/1", {"_method": "PATCH"}),
])  # fmt: skip
def test_no_other_method_and_no_other_row_is_taken(
    client: WsgiClient, posts: Upstream, path: str, fields: dict[str, str]
) -> None:
    response = send(client, path, as_user(), **fields)
    assert response.code == "METHOD_NOT_ALLOWED" if path != "/api/posts" else posts.received[0].method == "POST"


def test_only_a_form_states_a_method(client: WsgiClient, posts: Upstream) -> None:
    for headers in ({"Content-Type": "application/json"}, {"Content-Type": "multipart/form-data"}, {}):
        assert client.post(POST, b"_method=DELETE", as_user() | headers).code == "METHOD_NOT_ALLOWED"
    assert posts.received == []


def test_a_form_that_is_too_large_is_refused(client: WsgiClient, posts: Upstream) -> None:
    assert send(client, POST, as_user(), _method="PATCH", title="x" * 1024 * 1024).code == "PAYLOAD_TOO_LARGE"
    assert posts.received == []
