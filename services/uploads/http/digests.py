"""Read and write the digest headers Repr-Digest and Content-Digest (RFC 9530)."""

import base64
import binascii
import re

from werkzeug.datastructures import Headers

from shared.problems import Problem

HEADER = "Repr-Digest"
_LENGTH = 32  # bytes of SHA-256
_names_ours = re.compile(r"(?:^|,)[ \t]*sha-256(?![a-z0-9_.*-])").search
_ours = re.compile(r"(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/=]{1,100}):[ \t]*(?:;[^,]*)?(?=,|$)").findall


def announced(headers: Headers) -> bytes | None:
    """Return the SHA-256 that the sender declares, None without one; raise BAD_REQUEST for a malformed header.

    Other algorithms are ignored, as the RFC allows (section 3). A request's content is its whole representation here,
    so that Content-Digest means the same.
    """
    digests = {_read(headers[name]) for name in (HEADER, "Content-Digest") if _names_ours(headers.get(name, ""))}
    if len(digests) > 1:
        raise Problem("BAD_REQUEST", "Repr-Digest and Content-Digest differ.")
    return digests.pop() if digests else None


def _read(header: str) -> bytes:
    values = _ours(header)
    try:
        digest = base64.b64decode(values[-1], validate=True)  # the last one counts (RFC 9651, section 3.2)
    except (IndexError, binascii.Error):
        digest = b""
    if len(digest) != _LENGTH:
        raise Problem("BAD_REQUEST", f"{HEADER} must have the SHA-256 like sha-256=:<base64>:.")
    return digest


def repr_digest(sha256: bytes) -> str:
    """Return the header's value."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"
