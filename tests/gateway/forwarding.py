"""Pools to real upstreams, and the requests that go to them."""

import io
from collections.abc import Callable

import pytest

from services.gateway.http.headers import Headers
from services.gateway.proxy.connection_pool import ConnectionPool
from services.gateway.proxy.forward import UpstreamRequest, UpstreamResponse, forward
from services.gateway.proxy.request_body import ClientBody
from shared.problems import Problem
from tests.gateway.upstreams import Behaviour, Upstream

MIB = 1024 * 1024
Start = Callable[[Behaviour], Upstream]
Pools = Callable[[Upstream], ConnectionPool]
PoolTo = Callable[[Behaviour], ConnectionPool]


def a_request(
    method: str = "GET",
    target: str = "/x",
    headers: Headers | None = None,
    body: ClientBody | None = None,
    first_byte: float = 5.0,
    cut: Callable[[], None] = lambda: None,
) -> UpstreamRequest:
    return UpstreamRequest(method, target, headers or [], body, first_byte, cut)


def body_of(content: bytes, *, chunked: bool = False, limit: int = 64 * MIB) -> ClientBody:
    return ClientBody(io.BytesIO(content), None if chunked else len(content), limit)


def read(answer: UpstreamResponse) -> bytes:
    return b"".join(answer.body)


def code_of(pool: ConnectionPool, request: UpstreamRequest) -> str:
    with pytest.raises(Problem) as caught:
        forward(pool, request)
    return caught.value.code
