"""Figures for Prometheus, beside the public port."""

import re

import pytest
import urllib3

from tests.e2e.stack import SERVICES, Stack
from tests.waiting import wait_until


def figures(stack: Stack, service: str) -> str:
    answer = urllib3.request("GET", f"http://127.0.0.1:{stack.ports[service] + 1000}/metrics", timeout=5, retries=False)
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return answer.data.decode()


def answers(stack: Stack, service: str) -> bool:
    try:
        return bool(figures(stack, service))
    except urllib3.exceptions.HTTPError:
        return False


def number(stack: Stack, service: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", figures(stack, service), re.MULTILINE)
    return float(found[1]) if found else 0


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_tells_its_figures_a_thousand_ports_up(stack: Stack, service: str) -> None:
    wait_until(lambda: answers(stack, service))
    assert stack.request("GET", "/metrics", service=service).status == 404


def test_a_request_is_counted_in_the_gateway_and_in_its_service(stack: Stack) -> None:
    wait_until(lambda: answers(stack, "gateway") and answers(stack, "posts"))
    samples = {
        "gateway": 'http_request_duration_seconds_count{method="GET",route="/api/posts/{id}",status="404"}',
        "posts": 'http_request_duration_seconds_count{method="GET",route="/api/posts/<key>",status="404"}',
    }
    before = {service: number(stack, service, sample) for service, sample in samples.items()}
    upstream = 'gateway_upstream_duration_seconds_count{outcome="4xx",route="/api/posts/{id}",upstream="posts"}'
    passed = number(stack, "gateway", upstream)
    for name in ("a", "b", "c"):
        assert stack.get(f"/api/posts/not-there-{name}")[0] == 404
    for service, sample in samples.items():
        wait_until(lambda service=service, sample=sample: number(stack, service, sample) == before[service] + 3)
    assert number(stack, "gateway", upstream) == passed + 3
