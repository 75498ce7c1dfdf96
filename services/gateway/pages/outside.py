"""Forward requests to outside hosts, without identifying the client."""

from flask import Response, request

from services.gateway.http.headers import from_environ
from services.gateway.http.request_target import join_target
from services.gateway.outside.client import OutsideClient
from services.gateway.request_context import KEY, RequestContext, whole_body
from services.gateway.routes import MIB
from shared.service import current_service
from shared.web.blueprint import Blueprint, takes_body, takes_query

blp = Blueprint("proxy", __name__, description="Outside hosts")
RESPONSES = {"default": {"description": "The response of the outside host", "content": {"*/*": {"schema": {}}}}}
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


@blp.route("/api/proxy/<domain>/<path:path>", methods=METHODS)
@blp.route("/api/proxy/<domain>/", methods=METHODS, strict_slashes=False)
@blp.problems("DOMAIN_NOT_ALLOWED", "BAD_GATEWAY", "SERVICE_UNAVAILABLE", "GATEWAY_TIMEOUT")
@blp.doc(responses=RESPONSES)
@takes_query
@takes_body
def ask(domain: str, path: str = "") -> Response:
    """Forward the request to an allow-listed outside host, and return its response."""
    outside: OutsideClient = current_service().get(OutsideClient)
    context: RequestContext = request.environ[KEY]
    authorised = context.path.split("/", 4)[3:]  # still percent-encoded, unlike the arguments of the view
    target = join_target("/" + "".join(authorised[1:]), context.query)
    body = whole_body(request.environ, MIB)
    user = context.identity.user_id if context.identity else ""
    answer = outside.ask(authorised[0], request.method, target, from_environ(request.environ), body, user)
    response = Response(answer.body, answer.status)
    response.headers.clear()
    response.headers.extend(answer.headers)
    return response
