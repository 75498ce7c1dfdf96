"""Which hosts are asked, and at which addresses."""

import pytest

from tests.gateway.outside.asking import HOST, Serve, ask
from tests.gateway.outsiders import PUBLIC, FalseInternet
from tests.gateway.upstreams import echo
from tests.gateway.wsgi_client import WsgiClient


def test_it_needs_a_signed_in_user_whatever_the_method(gateway: WsgiClient, internet: FalseInternet) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = gateway.request(method, f"/api/proxy/{HOST}/x")
        assert answer.status == 401
    assert internet.resolved == []


SPELLINGS = [
    "127.0.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "017700000001", "127.1", "0", "localhost",
    "LOCALHOST", "localhost.localdomain", "169.254.169.254", "2852039166", "0xa9fea9fe", "metadata.google.internal",
    "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "%5B::1%5D", "::1", "[::]",
    f"{HOST}@127.0.0.1", f"127.0.0.1@{HOST}", f"user:pass@{HOST}", f"{HOST}%40127.0.0.1", f"{HOST}:443", f"{HOST}:80",
    f"{HOST}:22", f"{HOST}%3A22", f"{HOST}.", f"{HOST}..", f".{HOST}", f"{HOST}.evil.example", f"evil{HOST}",
    f"evil.{HOST}", "example.org", f"{HOST}%20", f"%20{HOST}", f"{HOST};x", f"{HOST},b.example.org", f"*.{HOST}",
    f"{HOST}%3F", f"{HOST}%23", f"{HOST}&x", f"{HOST}+", "api.example.org%E3%80%82", "api%E3%80%82example.org",
    "%D0%B0pi.example.org", "xn--pi-7kc.example.org", "ap%E2%93%98.example.org", "api.ex%EF%BD%81mple.org",
    "API.EXAMPLE.OR%E1%B4%B3", "https:", "evil.example", "%65vil.example",
]  # fmt: skip


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_other_spelling_of_a_host_is_understood(gateway: WsgiClient, internet: FalseInternet, spelling: str) -> None:
    answer = ask(gateway, f"{spelling}/x")
    assert (answer.status, answer.code) == (403, "DOMAIN_NOT_ALLOWED")
    assert answer.json["allowedDomains"] == [HOST, "b.example.org"]
    assert (internet.resolved, internet.dialled) == ([], [])


@pytest.mark.parametrize(
    "target",
    [
        f"{HOST}%5C@127.0.0.1/x", f"127.0.0.1%5C@{HOST}/x", f"{HOST}%2F..%2Fx/y", f"{HOST}/../x", f"{HOST}/%2e%2e/x",
        f"{HOST}/a//b", f"{HOST}%00.evil.example/x", f"{HOST}%0d%0aX: y/x", f"{HOST}/a%0d%0ab", f"{HOST}/a%2fb",
        f"{HOST}\\@127.0.0.1/x", f"/{HOST}/x", f"https://{HOST}/x", f"{HOST}/%252e%252e/x", f"{HOST}/x#y",
        f"{HOST}/x?a=b c", "%ff.example.org/x",
    ],
)  # fmt: skip
def test_a_target_that_readers_could_disagree_about_is_refused(
    gateway: WsgiClient, internet: FalseInternet, target: str
) -> None:
    assert ask(gateway, target).status in (400, 403)
    assert (internet.resolved, internet.dialled) == ([], [])


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["10.0.0.1"], ["169.254.169.254"], ["100.64.0.1"], ["::1"], ["::ffff:127.0.0.1"],
        ["64:ff9b::a9fe:a9fe"], ["2002:7f00:1::"], ["2001::1"], ["fe80::1%1"], ["fd00:ec2::254"], ["224.0.0.1"],
        ["0.0.0.0"], [PUBLIC, "127.0.0.1"], ["127.0.0.1", PUBLIC], [PUBLIC, "1.1.1.1", "8.8.8.8", "9.9.9.9", "::1"],
    ],
)  # fmt: skip
def test_a_host_that_leads_inside_is_not_asked(
    gateway: WsgiClient, internet: FalseInternet, addresses: list[str]
) -> None:
    internet.addresses = addresses
    answer = ask(gateway, f"{HOST}/x")
    assert (answer.status, answer.code) == (403, "DOMAIN_NOT_ALLOWED")
    assert (internet.resolved, internet.dialled) == ([HOST], [])
    assert not any(address.encode() in answer.body for address in addresses)


def test_a_name_is_looked_up_once_and_the_checked_address_is_dialled(
    gateway: WsgiClient, host: Serve, internet: FalseInternet
) -> None:
    host(echo)
    internet.addresses = ["1.1.1.1", "2606:4700::1", "1.1.1.1"]
    internet.dead = ["1.1.1.1"]
    assert ask(gateway, f"{HOST}/x").status == 200
    assert (internet.resolved, internet.dialled) == ([HOST], ["1.1.1.1", "2606:4700::1"])
