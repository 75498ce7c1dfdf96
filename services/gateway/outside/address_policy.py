"""SSRF protection: tell public IP addresses from all others, also IPv4 addresses embedded in IPv6."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

# The tables are ours, since what `ipaddress` calls global differs between versions and includes forms of loopback.
_CLOSED_4 = tuple(map(IPv4Network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4",
    "168.63.129.16/32",  # a cloud's metadata, although the address looks public
)))  # fmt: skip
_GLOBAL_6 = IPv6Network("2000::/3")  # all that IANA has allocated (RFC 4291, section 2.4)
# Teredo, ORCHID and others; documentation; 6to4. They embed an IPv4 address or are not routed.
_CLOSED_6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052; the local 64:ff9b:1::/48 is outside of 2000::/3
_MAPPED = IPv6Network("::ffff:0:0/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214, section 6.1


def is_public(address: Address) -> bool:
    """Return whether the address is public, and the IPv4 address embedded in it if there is one.

    Example: `64:ff9b::7f00:1` embeds 127.0.0.1 (NAT64), so it is not public.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_4)
    if address.scope_id:
        return False
    inner = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or address in _MAPPED:
        return is_public(inner)
    if address not in _GLOBAL_6 or any(address in network for network in _CLOSED_6):
        return False
    return int(address) >> 32 & 0xFFFFFFFF not in _ISATAP or is_public(inner)
