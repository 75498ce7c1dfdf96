import socket
from typing import Any

import pytest

from shared.feed.service_client import InternalClient
from tests.feeds import ServedFeed


def test_an_address_is_never_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    feed = ServedFeed("toys")
    feed.tables["/internal/toys"] = [{"id": "1"}]

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("the resolver was asked")

    with feed.served():
        monkeypatch.setattr(socket, "getaddrinfo", fail)
        assert InternalClient(feed.url).get_json("/internal/toys") == [{"id": "1"}]
