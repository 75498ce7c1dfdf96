"""A resolver that hangs costs its own names, and a bounded number of threads."""

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from threading import Event
from typing import Any

import pytest

from shared.network.name_lookup import NameLookup
from shared.problems import Problem
from tests.waiting import wait_until


class Resolver:
    """A resolver that is silent about some names."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = Event()

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        if host.startswith("silent"):
            self.answer.wait(30)
        if host.endswith("invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    yield resolver
    resolver.answer.set()


def hang(lookup: NameLookup, name: str, client: str = "") -> None:
    with pytest.raises(TimeoutError):
        lookup.addresses(name, 0.01, client)


@pytest.mark.parametrize("literal", ["127.0.0.1", "::1", "2001:db8::1"])
def test_a_literal_address_is_never_looked_up(resolver: Resolver, literal: str) -> None:
    assert NameLookup(0).addresses(literal, 1) == [ip_address(literal)]
    assert resolver.asked == []


def test_a_name_that_hangs_keeps_one_thread_and_no_other_name(resolver: Resolver) -> None:
    lookup = NameLookup(2)
    for _ in range(20):
        hang(lookup, "silent.example")
    assert lookup.addresses("a.example", 5) == [ip_address("192.0.2.1")]
    assert resolver.asked == ["silent.example", "a.example"]


def test_a_thread_is_free_again_once_the_resolver_gives_up(resolver: Resolver) -> None:
    lookup = NameLookup(1)
    hang(lookup, "silent.example")
    with pytest.raises(Problem, match="SERVICE_UNAVAILABLE"):
        lookup.addresses("a.example", 1)
    resolver.answer.set()
    wait_until(lambda: not lookup._running)
    assert lookup.addresses("a.example", 5)


def test_a_client_whose_names_hang_leaves_threads_to_the_others(resolver: Resolver) -> None:
    lookup = NameLookup(3, per_client=2)
    for name in ("silent1", "silent2"):
        hang(lookup, name, "ann")
    with pytest.raises(Problem):
        lookup.addresses("a.example", 1, "ann")
    assert lookup.addresses("a.example", 5, "bob")


def test_a_name_without_an_address_is_an_error_each_time(resolver: Resolver) -> None:
    lookup = NameLookup(1)
    for _ in range(2):
        with pytest.raises(OSError, match="not known"):
            lookup.addresses("nothing.invalid", 5)
