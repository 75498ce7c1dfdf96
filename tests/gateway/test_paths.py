"""What was authorised is what is forwarded."""

import random

import pytest

from services.gateway.http.request_target import split_target
from services.gateway.routes import RouteTable
from tests.gateway.upstreams import Upstream
from tests.gateway.wsgi_client import WsgiClient

JSON = {"Content-Type": "application/json"}


PIECES = ["api", "posts", "admin", "users", "files", "u", "internal", "feed", "..", ".", "", "%2e%2e", "%2f", "%252f",
          "%2F..%2F", "a%00", "%e2%80%ae", "posts;x=1", "\\", "%5c", "a%20b", "%70osts", "%61dmin", "..;", "%c0%af",
          "by-id", "%E6%97%A5", "?", "#", "//", "@evil", ":80"]  # fmt: skip


def test_no_spelling_gets_another_path_forwarded_than_the_one_that_was_authorised(
    client: WsgiClient, auth: Upstream, posts: Upstream, uploads: Upstream
) -> None:
    table, dice = RouteTable(), random.Random(7)
    services = {"auth": auth, "posts": posts, "uploads": uploads}
    forwarded = 0
    for number in range(3000):
        client.address = f"198.18.{number >> 8}.{number & 255}"
        target = "/api/" + "/".join(dice.choices(PIECES, k=dice.randint(1, 4)))
        status = client.get(target).status
        seen = [(name, request) for name, service in services.items() for request in service.received]
        for service in services.values():
            service.received.clear()
        if not seen:
            assert status in (400, 401, 404, 405), target
            continue
        ((name, request),) = seen
        node = table.find(split_target(request.target)[0])
        assert node is not None
        assert node.routes["GET"].upstream == name
        assert node.routes["GET"].role is None
        assert split_target(request.target)[0] == request.target.partition("?")[0]
        forwarded += 1
    assert forwarded > 50


@pytest.mark.parametrize("target", ["http://gateway.test/api/posts", "//gateway.test/api/posts", "gateway.test:80"])
def test_only_the_origin_form_is_taken(client: WsgiClient, posts: Upstream, target: str) -> None:
    assert client.request("OPTIONS", target).code == "BAD_REQUEST"
    assert posts.received == []


def test_without_the_raw_target_it_is_rebuilt_from_the_decoded_path(client: WsgiClient, uploads: Upstream) -> None:
    environ = client.environ("GET", "/api/files/u/x", {}, None)
    del environ["RAW_URI"]
    environ |= {"PATH_INFO": "/api/files/u/100% \xe6\x97\xa5.png", "QUERY_STRING": "w=5"}
    body = client.app(environ, lambda status, headers, exc_info=None: None)
    b"".join(body)
    body.close()  # type: ignore[attr-defined]
    assert uploads.received[0].target == "/api/files/u/100%25%20%E6%97%A5.png?w=5"


def test_an_own_page_is_the_one_that_was_authorised(client: WsgiClient) -> None:
    environ = client.environ("GET", "/api/hello", {}, None) | {"PATH_INFO": "/readyz", "SCRIPT_NAME": "/api"}
    statuses: list[str] = []
    body = client.app(environ, lambda status, headers, exc_info=None: statuses.append(status))
    assert b"userAgent" in b"".join(body)
    body.close()  # type: ignore[attr-defined]
    assert statuses == ["200 OK"]
