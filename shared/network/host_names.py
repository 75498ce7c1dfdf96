"""Internationalised domain names (IDNA2008)."""

import idna


def ascii_domain(domain: str) -> str:
    """Return a domain as A-labels (IDNA2008 after UTS 46, non-transitional); raise ValueError if it is not valid."""
    if domain.startswith("["):
        raise ValueError("an IP address is no domain")
    if domain.isascii() and "xn--" not in domain.lower():
        return domain.lower()
    return idna.encode(domain, uts46=True).decode()
