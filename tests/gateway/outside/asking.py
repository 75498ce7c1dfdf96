"""Ask the gateway for an outside host."""

from collections.abc import Callable

from tests.gateway.conftest import as_user
from tests.gateway.outsiders import Outsider
from tests.gateway.upstreams import Behaviour
from tests.gateway.wsgi_client import Response, WsgiClient

HOST = "api.example.org"
Serve = Callable[[Behaviour], Outsider]


def ask(gateway: WsgiClient, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Response:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return gateway.request(method, f"/api/proxy/{path}", as_user() | sent, body)


def header_names(answer: Response) -> set[str]:
    return {name.lower() for name, _ in answer.headers}
