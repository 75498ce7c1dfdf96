"""TLS contexts for connections to hosts outside."""

import ssl


def client_context() -> ssl.SSLContext:
    """Return a context that verifies the server, whose name must be among the subject alternative names (RFC 9525)."""
    context = ssl.create_default_context()
    context.hostname_checks_common_name = False  # Python believes the common name where there are no others
    return context
