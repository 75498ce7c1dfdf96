"""The gateway's own pages."""

import threading
import tomllib
from pathlib import Path

import pytest

from services.gateway.proxy.health import VERSION
from services.gateway.routes import SERVICES
from shared.problems import CODES
from tests.gateway.conftest import StartGateway
from tests.gateway.upstreams import Upstream, json_response, response
from tests.gateway.wsgi_client import WsgiClient

JSON = {"Content-Type": "application/json"}


def test_hello_greets(client: WsgiClient) -> None:
    answer = client.get("/api/hello", {"User-Agent": "tester/1"})
    assert (answer.status, answer.json["success"]) == (200, True)
    assert answer.json["data"]["userAgent"] == "tester/1"
    assert answer.json["data"]["timestamp"].endswith("Z")
    assert answer.json["data"]["message"]


@pytest.mark.parametrize("document, value", [(b'{"a": [1, null]}', {"a": [1, None]}), (b'"text"', "text"), (b"3", 3)])
def test_hello_repeats_what_it_received(client: WsgiClient, document: bytes, value: object) -> None:
    assert client.post("/api/hello", document, JSON).json["data"] == {"received": value}


@pytest.mark.parametrize(
    "document", [b"", b"{", b"NaN", b"[1e999]", b"[" * 100 + b"]" * 100, b'"\\ud800"', b"9" * 30, b'{"a":1}x', b"\xff"]
)
def test_hello_refuses_what_is_no_good_json(client: WsgiClient, document: bytes) -> None:
    answer = client.post("/api/hello", document, JSON)
    assert (answer.status, answer.code) == (400, "INVALID_JSON")


def test_hello_takes_json_only(client: WsgiClient) -> None:
    answer = client.post("/api/hello", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("code", CODES)
def test_every_error_code_is_explained(client: WsgiClient, code: str) -> None:
    answer = client.get(f"/api/errors/{code}")
    kind = CODES[code]
    expected = {"code": code, "status": kind.status, "title": kind.title, "advice": kind.advice}
    assert (answer.status, answer.json["data"]) == (200, expected)


def test_a_browser_gets_a_page_that_runs_nothing(client: WsgiClient) -> None:
    answer = client.get("/api/errors/NOT_FOUND", {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"})
    assert str(answer.header("Content-Type")).startswith("text/html")
    assert b"<h1>NOT_FOUND</h1>" in answer.body
    assert str(answer.header("Content-Security-Policy")).startswith("default-src 'none'")
    assert answer.header("Vary") == "Accept, Origin"


@pytest.mark.parametrize("target", ["/api/errors/nothing", "/api/errors/%3Cscript%3E"])
def test_an_unknown_code_is_not_found(client: WsgiClient, target: str) -> None:
    assert client.get(target, {"Accept": "text/html"}).status == 404


def test_the_whole_is_healthy_when_every_service_is(client: WsgiClient) -> None:
    answer = client.get("/api/health")
    data = answer.json["data"]
    assert (answer.status, data["status"], data["version"]) == (200, "healthy", VERSION)
    assert list(data["checks"]) == list(SERVICES)
    assert all(check["status"] == "ok" and check["latencyMs"] >= 0 for check in data["checks"].values())
    assert data["uptime"] >= 0
    assert answer.header("Cache-Control") == "no-store"


@pytest.mark.parametrize(
    "broken, status, word",
    [("uploads", 200, "degraded"), ("auth", 503, "unhealthy"), ("posts", 503, "unhealthy")],
)
@pytest.mark.parametrize("how", ["refuses", "answers 503", "garbles"])
def test_a_service_that_is_down_shows(
    request: pytest.FixtureRequest, client: WsgiClient, broken: str, status: int, word: str, how: str
) -> None:
    upstream: Upstream = request.getfixturevalue(broken)
    if how == "refuses":
        upstream.stop_listening()
    elif how == "answers 503":
        upstream.behaviour = lambda line: line.send(response(b"{}", "503 Service Unavailable")) if line.read() else None
    else:
        upstream.behaviour = lambda line: line.send(b"garbage")
    answer = client.get("/api/health")
    assert (answer.status, answer.json["data"]["status"]) == (status, word)
    states = {name: check["status"] for name, check in answer.json["data"]["checks"].items()}
    assert states == dict.fromkeys(SERVICES, "ok") | {broken: "down"}


@pytest.mark.parametrize("status", ["200 OK", "503 Service Unavailable"])
def test_the_storage_is_shown_as_uploads_tells_it(client: WsgiClient, uploads: Upstream, status: str) -> None:
    storage = {"status": "ok" if status == "200 OK" else "down", "latencyMs": 1.5}
    told = json_response({"data": {"checks": {"database": {"status": "ok"}, "storage": storage}}}, status)
    uploads.behaviour = lambda line: line.send(told) if line.read() else None
    checks = client.get("/api/health").json["data"]["checks"]
    assert list(checks) == [*SERVICES, "storage"]
    assert checks["storage"] == storage


@pytest.mark.parametrize("body", [b"[]", b'{"data": 1}', b'{"data": {"checks": []}}', b"no JSON", b""])
def test_what_a_service_does_not_tell_is_not_shown(client: WsgiClient, uploads: Upstream, body: bytes) -> None:
    uploads.behaviour = lambda line: line.send(response(body)) if line.read() else None
    assert list(client.get("/api/health").json["data"]["checks"]) == list(SERVICES)


def test_health_is_asked_once_however_many_want_to_know(client: WsgiClient, posts: Upstream) -> None:
    threads = [threading.Thread(target=client.get, args=("/api/health",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(posts.received) == 1


def test_health_needs_no_token_and_minds_none(client: WsgiClient) -> None:
    assert client.get("/api/health", {"Authorization": "Bearer nonsense"}).status == 200


def test_redis_is_a_part_that_may_be_down(start_gateway: StartGateway) -> None:
    client = start_gateway(REDIS_URL="redis://127.0.0.1:1")
    answer = client.get("/api/health")
    assert (answer.status, answer.json["data"]["status"]) == (200, "degraded")
    assert answer.json["data"]["checks"]["redis"]["status"] == "down"


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_plain_options_are_answered_by_the_page(client: WsgiClient) -> None:
    answer = client.request("OPTIONS", "/api/hello")
    assert answer.status == 200
    assert set(str(answer.header("Allow")).split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
