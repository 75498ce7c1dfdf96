"""The JSON Web Key Set."""

import orjson
from flask import Response

from services.auth.signing_keys import Keyring
from shared.service import current_service
from shared.web.blueprint import Blueprint
from shared.web.request_parser import JSON

blp = Blueprint("keys", __name__, description="The public keys that access tokens are checked with")
KEYS = {
    "type": "object",
    "required": ["keys"],
    "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
}


@blp.route("/.well-known/jwks.json", methods=["GET"])
@blp.doc(responses={200: {"description": "OK", "content": {JSON: {"schema": KEYS}}}})
def index() -> Response:
    """Return the public keys as a JSON Web Key Set (RFC 7517), without the envelope."""
    keyring: Keyring = current_service().get(Keyring)
    headers = {"Cache-Control": "public, max-age=300"}
    return Response(orjson.dumps(keyring.jwks()), 200, headers, content_type=JSON)
