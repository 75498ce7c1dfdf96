"""Sign requests to S3 with AWS Signature Version 4, in the form that puts it into a header."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote, urlencode

ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, and the region that the store says it is in."""

    key_id: str
    secret: str = field(repr=False)
    region: str


def query_string(query: Mapping[str, str]) -> str:
    """Return the query as it has to be sent, which is the form that is signed."""
    return urlencode(sorted(query.items()), quote_via=quote, safe="-_.~")


def signed(
    credentials: Credentials, method: str, path: str, query: str, headers: Mapping[str, str], sha256: str, now: datetime
) -> dict[str, str]:
    """Return the headers, `host` among them, with those of the signature; `sha256` is that of the body.

    The path must need no percent-encoding.
    """
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{credentials.region}/s3/aws4_request"
    all_headers = {**headers, "x-amz-date": moment, "x-amz-content-sha256": sha256}
    names = ";".join(sorted(all_headers))
    lines = [f"{name}:{all_headers[name]}" for name in sorted(all_headers)]
    request = "\n".join([method, path, query, *lines, "", names, sha256])
    digest = hashlib.sha256(request.encode()).hexdigest()
    key = f"AWS4{credentials.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, "\n".join([ALGORITHM, moment, scope, digest]).encode(), "sha256").hex()
    who = f"Credential={credentials.key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return all_headers | {"authorization": f"{ALGORITHM} {who}"}
