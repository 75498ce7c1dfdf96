"""The route table: which upstream owns a path, who may pass, and the limits; the most specific pattern wins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from shared.identity.csrf import FORM, MULTIPART
from shared.identity.roles import ADMIN, MODERATOR, USER

KIB = 1024
MIB = 1024 * KIB
UPLOAD_LIMIT = 12 * MIB
FORM_LIMIT = 64 * KIB
UPLOADS_LIMIT = 102 * MIB  # ten files


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the table.

    The pattern has `{name}` for any one segment and `{name…}` for the rest of the path, which ends with a slash
    only where the pattern says so. `upstream` None is a page of the gateway itself; `role` is the lowest that may pass,
    None lets strangers pass; `limit` names a class of
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
    role: str | None
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
    role: str | None = None,
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
        pattern, words, upstream, role, limit, max_body, first_byte, reads_token, form, cached, spooled, gives_back
    )


own = row
outside = partial(own, "GET POST PUT PATCH DELETE OPTIONS", role=USER)
auth = partial(row, upstream="auth")
posts = partial(row, upstream="posts", cached=True)
uploads = partial(row, upstream="uploads")
files_in = partial(uploads, role=USER, limit="upload", max_body=UPLOAD_LIMIT, first_byte=30.0, spooled=True)
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
    auth("GET PATCH DELETE", "/api/auth/me", role=USER),
    auth("PUT", "/api/auth/me/password", role=USER),
    auth("GET", "/api/auth/sessions", role=USER),
    auth("DELETE", "/api/auth/sessions/{id}", role=USER),
    auth("GET", "/.well-known/jwks.json", reads_token=False),
    auth("GET POST", "/api/users", role=ADMIN, limit="admin"),
    auth("GET", "/api/users/{id}"),
    auth("PUT PATCH DELETE", "/api/users/{id}", role=ADMIN, limit="admin"),
    auth("GET", "/api/admin/users", role=ADMIN, limit="admin"),
    auth("PATCH", "/api/admin/users/{id}", role=ADMIN, limit="admin"),
    auth("GET", "/api/admin/audit", role=ADMIN, limit="admin"),
)

POSTS = (
    posts("GET", "/api/posts"),
    posts("POST", "/api/posts", role=USER, form=FORM),
    posts("GET", "/api/posts/{id}"),
    posts("PUT PATCH DELETE", "/api/posts/{id}", role=USER, form=FORM),
    posts("POST", "/api/posts/{id}/restore", role=USER),
    posts("PUT DELETE", "/api/posts/{id}/like", role=USER, form=FORM),
    posts("GET", "/api/posts/{id}/comments"),
    posts("POST", "/api/posts/{id}/comments", role=USER, form=FORM),
    posts("PATCH DELETE", "/api/comments/{id}", role=USER, form=FORM),
    posts("GET", "/api/admin/comments", role=MODERATOR, limit="admin"),
    posts("GET", "/api/users/{userId}/posts"),
    posts("GET", "/api/users/{userId}/posts/{postId}"),
    posts("PUT PATCH DELETE", "/api/users/{userId}/posts/{postId}", role=USER),
    posts("GET", "/api/tags"),
    posts("GET", "/api/categories"),
    posts("POST", "/api/categories", role=MODERATOR),
    posts("PATCH DELETE", "/api/categories/{id}", role=MODERATOR),
)

UPLOADS = (
    files_in("POST", "/api/upload", form=MULTIPART),
    files_in("POST", "/api/uploads", max_body=UPLOADS_LIMIT, first_byte=60.0),
    uploads("GET", "/api/uploads", role=USER),
    uploads("GET", "/api/uploads/{id}", role=USER),
    uploads("PATCH DELETE", "/api/uploads/{id}", role=USER, form=FORM),
    uploads("POST", "/api/uploads/{id}/sign", role=USER),
    files_in("POST", "/api/uploads/tus"),
    files_in("HEAD PATCH DELETE", "/api/uploads/tus/{id}", limit="general"),
    uploads("GET", "/api/files/by-id/{id}", limit="files"),
    uploads("GET", "/api/files/{userId}/{path…}", limit="files"),
    files_in("POST PUT", "/api/files/{userId}/{path…}"),
    uploads("DELETE", "/api/files/{userId}/{path…}", role=USER),
)

MESSAGES = (
    messages("POST", "/api/contact", limit="contact", max_body=FORM_LIMIT, form=FORM),
    messages("GET", "/api/admin/contact", role=MODERATOR, limit="admin"),
    messages("PATCH", "/api/admin/contact/{id}", role=MODERATOR, limit="admin"),
    messages("GET", "/api/notifications", role=USER),
    messages("PATCH", "/api/notifications/{id}", role=USER),
    messages("POST", "/api/notifications/read-all", role=USER),
    messages("GET", "/api/events"),
    messages("POST", "/api/events/ticket", role=USER),
)


@dataclass(frozen=True)
class Upstream:
    """A service behind the gateway: the port that it has by default, and its rows.

    Without an `essential` one the whole counts as unhealthy. `invalidation` has, by the noun of a fact in its feed, the
    Cache-Tags of the answers that such a fact changes; `{subject}` and members of the fact's data are filled in. Where
    `counts_views` is true, it hears of the views that the cache answered.
    """

    port: int
    routes: tuple[Route, ...]
    essential: bool = False
    invalidation: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts_views: bool = False

    @property
    def streams(self) -> bool:
        """Tell whether long bodies are sent to it."""
        return any(route.max_body > MIB for route in self.routes)

    @property
    def is_cached(self) -> bool:
        return any(route.cached for route in self.routes)


TAGS_OF_POSTS = {
    "post": ("posts", "post-{subject}"),
    "comment": ("posts", "post-{postId}"),
    "author": ("author-{subject}",),
}
SERVICES = {
    "auth": Upstream(8001, AUTH, essential=True),
    "posts": Upstream(8002, POSTS, essential=True, invalidation=TAGS_OF_POSTS, counts_views=True),
    "uploads": Upstream(8003, UPLOADS),
    "messages": Upstream(8004, MESSAGES),
}
ROUTES = OWN + tuple(route for service in SERVICES.values() for route in service.routes)


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
        self.routes.setdefault("OPTIONS", replace(route, role=None, limit="general"))
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
