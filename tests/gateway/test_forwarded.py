from ipaddress import ip_network
from typing import Any

import pytest

from services.gateway.http.forwarded import _warn_of_hops, client_address, proxies, scheme_and_host
from shared.client_address import limiter_key

PROXIES = proxies((ip_network("10.0.0.0/8"), ip_network("fd00::/8")))


@pytest.mark.parametrize(
    "peer, forwarded_for, address",
    [
        ("198.51.100.7", "", "198.51.100.7"),
        ("198.51.100.7", "1.2.3.4", "198.51.100.7"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4,203.0.113.9, 10.9.9.9", "203.0.113.9"),
        ("10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, , 10.2.2.2,", "203.0.113.9"),
        ("10.0.0.1", "fe80::1%eth0", "10.0.0.1"),
        ("10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "2001:DB8:0::1", "2001:db8::1"),
        ("fd00::1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:1234", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1:1, 203.0.113.9:50011, 10.2.2.2:80", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("10.0.0.1", '"[2001:db8::1]"', "2001:db8::1"),
        ("10.0.0.1", '"203.0.113.9"', "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, 1.2.3.4:x", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, [1.2.3.4", "10.0.0.1"),
        ("", "203.0.113.9", ""),
    ],
)
def test_the_client_is_the_nearest_hop_that_is_no_proxy_of_ours(peer: str, forwarded_for: str, address: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == address


def test_the_log_says_once_that_a_hop_cannot_be_read(caplog: pytest.LogCaptureFixture) -> None:
    _warn_of_hops.cache_clear()
    for hop in ("unknown", "_hidden", "nonsense"):
        client_address("10.0.0.1", hop, PROXIES)
    assert [record.message[:31] for record in caplog.records] == ["an element of X-Forwarded-For i"]


def test_without_trusted_proxies_the_header_means_nothing() -> None:
    assert client_address("10.0.0.1", "203.0.113.9", proxies(())) == "10.0.0.1"


@pytest.mark.parametrize(
    "address, key",
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", ""),
    ],
)
def test_a_whole_ipv6_network_is_one_key(address: str, key: str) -> None:
    assert limiter_key(address) == key


@pytest.mark.parametrize(
    "environ, seen",
    [
        ({}, ("http", "api.example.org")),
        ({"HTTP_X_FORWARDED_PROTO": "https", "HTTP_X_FORWARDED_HOST": "evil.example"}, ("http", "api.example.org")),
        ({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_PROTO": "https"}, ("https", "api.example.org")),
        ({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_HOST": "a.example:8443"}, ("http", "a.example:8443")),
        ({"REMOTE_ADDR": "10.0.0.1", "HTTP_X_FORWARDED_PROTO": "gopher"}, ("http", "api.example.org")),
        ({"HTTP_HOST": "a/b"}, ("http", "")),
    ],
)
def test_only_a_trusted_proxy_says_what_was_asked_for(environ: dict[str, Any], seen: tuple[str, str]) -> None:
    request = {"REMOTE_ADDR": "198.51.100.7", "wsgi.url_scheme": "http", "HTTP_HOST": "api.example.org"} | environ
    assert scheme_and_host(request, PROXIES) == seen
