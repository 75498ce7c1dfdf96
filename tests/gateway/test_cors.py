import pytest

from services.gateway.http.cors import Cors
from tests.gateway.conftest import StartGateway
from tests.gateway.upstreams import Line, Upstream, json_response
from tests.gateway.wsgi_client import Response, WsgiClient

KNOWN = ["http://localhost:3000", "https://app.example.org"]
UNKNOWN = ["http://localhost:3001", "https://localhost:3000", "http://localhost:3000.evil.example", "null",
           "http://LOCALHOST:3000", "http://localhost:3000/", "https://appXexample.org", "*", ""]  # fmt: skip


def cors_headers(response: Response) -> set[str]:
    return {name for name, _ in response.headers if name.lower().startswith("access-control-")}


def preflight(origin: str, method: str = "GET") -> dict[str, str]:
    headers = {"Origin": origin, "Access-Control-Request-Method": method}
    return headers | {"Access-Control-Request-Headers": "content-type, x-csrf-token"}


@pytest.mark.parametrize("origin", KNOWN)
def test_a_known_origin_is_echoed_with_credentials(client: WsgiClient, origin: str) -> None:
    response = client.get("/api/posts", {"Origin": origin})
    assert response.header("Access-Control-Allow-Origin") == origin
    assert response.header("Access-Control-Allow-Credentials") == "true"
    assert response.header("Vary") == "Origin"
    exposed = str(response.header("Access-Control-Expose-Headers")).split(", ")
    assert {"ETag", "Last-Modified", "Link", "Location", "Content-Location", "Content-Disposition", "Content-Range",
            "Accept-Ranges", "Allow", "WWW-Authenticate", "Retry-After", "RateLimit", "RateLimit-Policy",
            "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-ID", "X-Cache", "Age",
            "Idempotency-Replayed", "X-Contact-Processed", "Repr-Digest", "Server-Timing", "Upload-Offset",
            "Upload-Expires", "Tus-Resumable"} <= set(exposed)  # fmt: skip


@pytest.mark.parametrize("target", ["/api/hello", "/api/openapi.json", "/api/proxy/a.example/"])
def test_the_gateways_own_pages_tell_browsers_once(start_gateway: StartGateway, target: str) -> None:
    client = start_gateway(APP_ENV="development")
    assert client.get(target, {"Origin": KNOWN[0]}).header("Access-Control-Allow-Origin") == KNOWN[0]
    assert cors_headers(client.get(target, {"Origin": KNOWN[1].upper()})) == set()


@pytest.mark.parametrize("origin", UNKNOWN)
@pytest.mark.parametrize("target", ["/api/posts", "/api/hello", "/nothing"])
def test_an_unknown_origin_gets_no_cors_header(client: WsgiClient, origin: str, target: str) -> None:
    response = client.get(target, {"Origin": origin})
    assert cors_headers(response) == set()
    assert response.header("Vary") == "Origin"
    assert cors_headers(client.request("OPTIONS", target, preflight(origin))) == set()


@pytest.mark.parametrize(
    "target, methods",
    [
        ("/api/posts", "GET, HEAD, OPTIONS, POST"),
        ("/api/hello", "GET, HEAD, OPTIONS, POST"),
        ("/api/auth/login", "OPTIONS, POST"),
        ("/api/users/1/posts/2", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
    ],
)
def test_a_preflight_says_what_the_path_takes(
    client: WsgiClient, posts: Upstream, auth: Upstream, target: str, methods: str
) -> None:
    response = client.request("OPTIONS", target, preflight(KNOWN[0], "POST"))
    assert (response.status, response.body) == (204, b"")
    assert response.header("Access-Control-Allow-Origin") == KNOWN[0]
    assert response.header("Access-Control-Allow-Credentials") == "true"
    assert response.header("Access-Control-Allow-Methods") == methods
    assert response.header("Access-Control-Max-Age") == "86400"
    allowed = str(response.header("Access-Control-Allow-Headers")).split(", ")
    assert {"Content-Type", "Authorization", "X-Requested-With", "If-Match", "If-None-Match", "Idempotency-Key",
            "X-CSRF-Token", "X-Request-ID", "Last-Event-ID", "Range", "If-Range", "If-Modified-Since",
            "If-Unmodified-Since", "Content-Digest", "Repr-Digest", "traceparent", "tracestate", "baggage",
            "sentry-trace", "Upload-Offset", "Upload-Checksum"} <= set(allowed)  # fmt: skip
    assert posts.received == auth.received == []


def test_a_preflight_needs_no_token_and_no_right(client: WsgiClient) -> None:
    assert client.request("OPTIONS", "/api/admin/users", preflight(KNOWN[0])).status == 204
    bad = preflight(KNOWN[0]) | {"Authorization": "Bearer nonsense"}
    assert client.request("OPTIONS", "/api/admin/users", bad).status == 204


def test_another_method_is_no_preflight_whatever_its_headers_say(client: WsgiClient, posts: Upstream) -> None:
    assert client.get("/api/posts", preflight(KNOWN[0])).status == 200
    assert len(posts.received) == 1


def test_a_services_own_cors_headers_never_pass(client: WsgiClient, posts: Upstream) -> None:
    lax = ("Access-Control-Allow-Origin: *", "access-control-allow-credentials: true", "Vary: Accept, Origin")

    def behave(line: Line) -> None:
        while line.read():
            line.send(json_response({}, "200 OK", *lax))

    posts.behaviour = behave
    response = client.get("/api/posts", {"Origin": "https://evil.example"})
    assert cors_headers(response) == set()
    assert response.header("Vary") == "Accept, Origin"
    assert client.get("/api/posts", {"Origin": KNOWN[0]}).header("Access-Control-Allow-Origin") == KNOWN[0]


def test_an_origin_is_compared_exactly_even_where_it_looks_like_a_pattern() -> None:
    cors = Cors(["http://[::1]:3000", "https://a.example"])
    assert dict(cors.headers("http://[::1]:3000"))["Access-Control-Allow-Origin"] == "http://[::1]:3000"
    assert cors.headers("https://aXexample") == []


def test_one_origin_alone_still_varies(start_gateway: StartGateway) -> None:
    client = start_gateway(CORS_ORIGINS=KNOWN[0])
    assert client.get("/api/hello").header("Vary") == "Origin"
    assert client.get("/api/hello", {"Origin": KNOWN[0]}).header("Vary") == "Origin"
