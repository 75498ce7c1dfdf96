"""The route table: which upstream owns a path, who may pass, and the limits; the most specific pattern wins."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import partial

from shared.identity.csrf import FORM, MULTIPART

KIB = 1024
MIB = 1024 * KIB
UPLOAD_LIMIT = 12 * MIB
FORM_LIMIT = 64 * KIB
UPLOADS_LIMIT = 102 * MIB  # ten files


class Who(IntEnum):
    """Who may pass; each includes those after it."""

    ALL = 0
    USER = 1
    MODERATOR = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table.

    The pattern has `{name}` for any one segment and `{name…}` for the rest of the path, which ends with a slash
    only where the pattern says so. `upstream` None is a page of the gateway itself; `limit` names a class of
    `CLASSES`, None is not counted; `max_body` is in bytes, `first_byte` in seconds. Where `reads_token` is false a
    stale access token does no harm, since that is the way to a new one, and the address is counted, so that tokens
    of other accounts do not multiply the tries. `form` is the media type of the HTML forms that the service takes, if
    it takes any. Where `cached` is true, reads by strangers are kept as the service marks them, and writes forget
    them; it reads no cookie but the token there. Where `spooled` is true, a service hears of a request when all of
    its body has come. Where `gives_back` is true, a success does not count, so that many users behind one address
    sign in and out without hindering each other.
    """

    pattern: str
    methods: tuple[str, ...]
    upstream: str | None
    who: Who
    limit: str | None
    max_body: int
    first_byte: float
    reads_token: bool
    form: str
    cached: bool
    spooled: bool
    gives_back: bool


def row(
    methods: str,
    pattern: str,
    upstream: str | None = None,
    who: Who = Who.ALL,
    limit: str | None = "general",
    max_body: int = MIB,
    first_byte: float = 10.0,
    reads_token: bool = True,
    form: str = "",
    cached: bool = False,
    spooled: bool = False,
    gives_back: bool = False,
) -> Route:
    """Make a row with what most rows share."""
    words = tuple(methods.split())
    return Route(
        pattern, words, upstream, who, limit, max_body, first_byte, reads_token, form, cached, spooled, gives_back
    )


USER, MODERATOR, ADMIN = Who.USER, Who.MODERATOR, Who.ADMIN
own = row
outside = partial(own, "GET POST PUT PATCH DELETE OPTIONS", who=USER)
auth = partial(row, upstream="auth")
posts = partial(row, upstream="posts", cached=True)
uploads = partial(row, upstream="uploads")
files_in = partial(uploads, who=USER, limit="upload", max_body=UPLOAD_LIMIT, first_byte=30.0, spooled=True)
messages = partial(row, upstream="messages")
sign_in = partial(auth, "POST", limit="auth", max_body=FORM_LIMIT, reads_token=False)
own_form = partial(own, "POST", limit="auth", max_body=FORM_LIMIT, reads_token=False)

OWN = (
    own("GET POST", "/api/hello", max_body=FORM_LIMIT),  # a MiB of JSON takes 30 to 60 ms of the loop
    own("GET", "/api/health", limit=None, reads_token=False),
    own("GET", "/api/errors/{code}", reads_token=False),
    own("GET", "/verify-email", reads_token=False),
    own_form("/verify-email"),
    own("GET", "/reset-password", reads_token=False),
    own_form("/reset-password"),
    own("GET", "/api/openapi.json", reads_token=False),
    own("GET", "/api/docs", reads_token=False),
    own("GET", "/api/docs/docs.js", reads_token=False),
    own("GET", "/api/docs/{version}/{file}", reads_token=False),
    outside("/api/proxy/{domain}"),
    outside("/api/proxy/{domain}/{path…}"),
    outside("/api/proxy/{domain}/{path…}/"),
)

AUTH = (
    sign_in("/api/auth/register", limit="register", form=FORM),
    sign_in("/api/auth/login", limit="login", form=FORM, gives_back=True),
    sign_in("/api/auth/refresh", limit="refresh", gives_back=True),
    sign_in("/api/auth/verify-email"),
    sign_in("/api/auth/verify-email/resend"),
    sign_in("/api/auth/forgot-password"),
    sign_in("/api/auth/reset-password"),
    sign_in("/api/auth/logout", form=FORM, gives_back=True),
    sign_in("/api/auth/logout-all", form=FORM, gives_back=True),
    auth("GET PATCH DELETE", "/api/auth/me", who=USER),
    auth("PUT", "/api/auth/me/password", who=USER),
    auth("GET", "/api/auth/sessions", who=USER),
    auth("DELETE", "/api/auth/sessions/{id}", who=USER),
    auth("GET", "/.well-known/jwks.json", reads_token=False),
    auth("GET POST", "/api/users", who=ADMIN, limit="admin"),
    auth("GET", "/api/users/{id}"),
    auth("PUT PATCH DELETE", "/api/users/{id}", who=ADMIN, limit="admin"),
    auth("GET", "/api/admin/users", who=ADMIN, limit="admin"),
    auth("PATCH", "/api/admin/users/{id}", who=ADMIN, limit="admin"),
    auth("GET", "/api/admin/audit", who=ADMIN, limit="admin"),
)

POSTS = (
    posts("GET", "/api/posts"),
    posts("POST", "/api/posts", who=USER, form=FORM),
    posts("GET", "/api/posts/{id}"),
    posts("PUT PATCH DELETE", "/api/posts/{id}", who=USER, form=FORM),
    posts("POST", "/api/posts/{id}/restore", who=USER),
    posts("PUT DELETE", "/api/posts/{id}/like", who=USER, form=FORM),
    posts("GET", "/api/posts/{id}/comments"),
    posts("POST", "/api/posts/{id}/comments", who=USER, form=FORM),
    posts("PATCH DELETE", "/api/comments/{id}", who=USER, form=FORM),
    posts("GET", "/api/admin/comments", who=MODERATOR, limit="admin"),
    posts("GET", "/api/users/{userId}/posts"),
    posts("GET", "/api/users/{userId}/posts/{postId}"),
    posts("PUT PATCH DELETE", "/api/users/{userId}/posts/{postId}", who=USER),
    posts("GET", "/api/tags"),
    posts("GET", "/api/categories"),
    posts("POST", "/api/categories", who=MODERATOR),
    posts("PATCH DELETE", "/api/categories/{id}", who=MODERATOR),
)

UPLOADS = (
    files_in("POST", "/api/upload", form=MULTIPART),
    files_in("POST", "/api/uploads", max_body=UPLOADS_LIMIT, first_byte=60.0),
    uploads("GET", "/api/uploads", who=USER),
    uploads("GET", "/api/uploads/{id}", who=USER),
    uploads("PATCH DELETE", "/api/uploads/{id}", who=USER, form=FORM),
    uploads("POST", "/api/uploads/{id}/sign", who=USER),
    files_in("POST", "/api/uploads/tus"),
    files_in("HEAD PATCH DELETE", "/api/uploads/tus/{id}", limit="general"),
    uploads("GET", "/api/files/by-id/{id}", limit="files"),
    uploads("GET", "/api/files/{userId}/{path…}", limit="files"),
    files_in("POST PUT", "/api/files/{userId}/{path…}"),
    uploads("DELETE", "/api/files/{userId}/{path…}", who=USER),
)

MESSAGES = (
    messages("POST", "/api/contact", limit="contact", max_body=FORM_LIMIT, form=FORM),
    messages("GET", "/api/admin/contact", who=MODERATOR, limit="admin"),
    messages("PATCH", "/api/admin/contact/{id}", who=MODERATOR, limit="admin"),
    messages("GET", "/api/notifications", who=USER),
    messages("PATCH", "/api/notifications/{id}", who=USER),
    messages("POST", "/api/notifications/read-all", who=USER),
    messages("GET", "/api/events"),
    messages("POST", "/api/events/ticket", who=USER),
)

SERVICES: dict[str, tuple[int, tuple[Route, ...]]] = {  # the port that each has by default, and its rows
    "auth": (8001, AUTH),
    "posts": (8002, POSTS),
    "uploads": (8003, UPLOADS),
    "messages": (8004, MESSAGES),
}
STREAMING = {name for name, (_, rows) in SERVICES.items() if any(route.max_body > MIB for route in rows)}
ROUTES = OWN + tuple(route for _, rows in SERVICES.values() for route in rows)


class Node:
    """One place in the tree of segments, and the routes that end there, by method."""

    __slots__ = ("allowed", "named", "rest", "routes", "static")

    def __init__(self) -> None:
        self.static: dict[str, Node] = {}
        self.named: Node | None = None
        self.rest: Node | None = None
        self.routes: dict[str, Route] = {}
        self.allowed: tuple[str, ...] = ()

    def child(self, segment: str) -> "Node":
        if not segment.startswith("{"):
            return self.static.setdefault(segment, Node())
        if segment.endswith("…}"):
            self.rest = self.rest or Node()
            return self.rest
        self.named = self.named or Node()
        return self.named

    def add(self, route: Route) -> None:
        """Add a row; HEAD comes with GET, and OPTIONS, which anybody may ask, with every path."""
        methods = [*route.methods, "HEAD"] if "GET" in route.methods else route.methods
        for method in methods:
            if method in self.routes:
                raise ValueError(f"{method} {route.pattern} is in the table twice")
            self.routes[method] = route
        self.routes.setdefault("OPTIONS", replace(route, who=Who.ALL, limit="general"))
        if len({known.upstream for known in self.routes.values()}) > 1:
            raise ValueError(f"{route.pattern} has two owners")
        self.allowed = tuple(sorted(self.routes))


class RouteTable:
    """Find the routes of a path in a tree, whatever their number."""

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self._root = Node()
        for route in routes:
            node = self._root
            for segment in route.pattern.split("/"):
                node = node.child(segment)
            node.add(route)

    def find(self, path: str) -> Node | None:
        """Return the most specific node for a canonical path, None when there is nothing."""
        return _descend(self._root, path.split("/"), 0)


def _descend(node: Node, segments: list[str], depth: int) -> Node | None:
    if depth == len(segments):
        return node if node.routes else None
    segment = segments[depth]
    static = node.static.get(segment)
    if static and (found := _descend(static, segments, depth + 1)):
        return found
    if node.named and segment and (found := _descend(node.named, segments, depth + 1)):
        return found
    return node.rest if segments[-1] or node.rest is None else node.rest.static.get("")
