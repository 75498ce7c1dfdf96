from services.gateway.limits import CLASSES
from shared.metrics import render
from tests.gateway.conftest import StartGateway
from tests.gateway.upstreams import Upstream
from tests.gateway.wsgi_client import WsgiClient


def told(sample: str) -> float:
    lines = [line for line in render().decode().splitlines() if line.rpartition(" ")[0] == sample]
    return float(lines[0].rpartition(" ")[2]) if lines else 0


def test_a_refusal_of_the_limits_is_counted(start_gateway: StartGateway) -> None:
    sample = 'gateway_rate_limited_total{limit="login"}'
    before = told(sample)
    client = start_gateway()
    for _ in range(CLASSES["login"].quota + 2):
        client.post("/api/auth/login", b"{}", {"Content-Type": "application/json"})
    assert told(sample) == before + 2


def test_an_upstream_is_timed_by_how_it_went(client: WsgiClient, posts: Upstream) -> None:
    well = 'gateway_upstream_duration_seconds_count{upstream="posts",outcome="2xx"}'
    badly = 'gateway_upstream_duration_seconds_count{upstream="posts",outcome="BAD_GATEWAY"}'
    before = told(well), told(badly)
    assert client.get("/api/posts").status == 200
    posts.behaviour = lambda line: line.send(b"garbage\r\n\r\n") if line.read() else None
    posts.hang_up()
    assert client.get("/api/posts").status == 502
    assert (told(well), told(badly)) == (before[0] + 1, before[1] + 1)
