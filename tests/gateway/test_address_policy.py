from ipaddress import ip_address

import pytest

from services.gateway.outside.address_policy import is_public

CLOSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "100.127.255.255", "127.0.0.1",
    "127.255.255.254", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.1.1.1", "240.0.0.1", "255.255.255.255",
]  # fmt: skip
PUBLIC = ["93.184.215.14", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "11.0.0.0"]
WRAPPED = ["::ffff:{}", "64:ff9b::{}"]
CLOSED_6 = [
    "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "100::1", "2001:db8::1",
    "3fff::1", "4000::1", "5f00::1",
    "::127.0.0.1", "::93.184.215.14",  # compatible
    "64:ff9b:1::7f00:1", "64:ff9b:1:ffff::5db8:d70e",  # local NAT64
    "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:5db8:d70e::1",  # 6to4
    "2001::1", "2001:0:4136:e378:8000:63bf:80ff:fffe",  # Teredo
    "2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:10.0.0.1",  # ISATAP
    "2606:4700::1%eth0",
]  # fmt: skip


@pytest.mark.parametrize("address", CLOSED + CLOSED_6)
def test_an_address_of_the_inside_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", [*PUBLIC, "2606:4700::6810:1", "2a00:1450:4001::1", "2606:4700::5efe:1.1.1.1"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("wrapping", WRAPPED)
@pytest.mark.parametrize("address", CLOSED + PUBLIC)
def test_a_wrapped_address_is_what_it_wraps(wrapping: str, address: str) -> None:
    assert is_public(ip_address(wrapping.format(address))) is (address in PUBLIC)
