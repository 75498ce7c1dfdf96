"""The route table: upstream, role and limits of each path; the most specific pattern wins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

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

    In the pattern, `{name}` is any one segment and `{name…}` the rest of the path; a final slash counts. With
    `reads_token` false the access token is ignored, since these routes lead to a new one. The rate limit then counts
    the client's address, so that tokens of other accounts do not multiply the tries.
    """

    pattern: str
    methods: tuple[str, ...]
    upstream: str | None  # None: a page of the gateway
    role: str | None = None  # the lowest that may use it; None: everybody
    limit: str | None = "general"  # a class of `CLASSES`; None: not counted
    max_body: int = MIB  # bytes
    first_byte: float = 10.0  # seconds until the response has to start
    reads_token: bool = True
    form: str = ""  # media type of the HTML forms that the service takes
    cached: bool = False  # anonymous reads are, and writes invalidate them; the service reads no cookie but the token
    spooled: bool = False  # the service gets the request when the gateway has all of the body
    refunds_success: bool = False  # a success does not count, so that users behind one address do not hinder each other
    # operationId by method, where `openapi.merge.operation_id` would give a wrong one
    names: Mapping[str, str] = field(default_factory=dict)


def row(methods: str, pattern: str, upstream: str | None = None, names: str = "", **about: Any) -> Route:
    """Return a row, which is `about` the rest of a route; `names` has one name for each method, or is empty."""
    words = tuple(methods.split())
    named = dict(zip(map(str.lower, words), names.split(), strict=bool(names)))
    return Route(pattern, words, upstream, names=named, **about)


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
    # A MiB of JSON would block the event loop for 30 to 60 ms.
    own("GET POST", "/api/hello", max_body=FORM_LIMIT, names="getHello echo"),
    own("GET", "/api/health", limit=None, reads_token=False, names="getHealth"),
    own("GET", "/api/errors/{code}", reads_token=False, names="explainError"),
    own("GET", "/verify-email", reads_token=False, names="showVerifyEmailPage"),
    own_form("/verify-email", names="submitVerifyEmailPage"),
    own("GET", "/reset-password", reads_token=False, names="showResetPasswordPage"),
    own_form("/reset-password", names="submitResetPasswordPage"),
    own("GET", "/api/openapi.json", reads_token=False, names="getOpenapiDocument"),
    own("GET", "/api/docs", reads_token=False, names="showDocs"),
    own("GET", "/api/docs/docs.js", reads_token=False, names="getDocsScript"),
    own("GET", "/api/docs/{version}/{file}", reads_token=False, names="getDocsFile"),
    outside("/api/proxy/{domain}"),
    outside(
        "/api/proxy/{domain}/{path…}",
        names="askOutside postOutside putOutside patchOutside deleteOutside optionsOutside",
    ),
    outside("/api/proxy/{domain}/{path…}/"),
)

AUTH = (
    sign_in("/api/auth/register", limit="register", form=FORM, names="register"),
    sign_in("/api/auth/login", limit="login", form=FORM, refunds_success=True, names="login"),
    sign_in("/api/auth/refresh", limit="refresh", refunds_success=True, names="refreshSession"),
    sign_in("/api/auth/verify-email", names="verifyEmail"),
    sign_in("/api/auth/verify-email/resend", names="resendVerificationMail"),
    sign_in("/api/auth/forgot-password", names="forgotPassword"),
    sign_in("/api/auth/reset-password", names="resetPassword"),
    sign_in("/api/auth/logout", form=FORM, refunds_success=True, names="logout"),
    sign_in("/api/auth/logout-all", form=FORM, refunds_success=True, names="logoutEverywhere"),
    auth("GET PATCH DELETE", "/api/auth/me", role=USER, names="getMe updateMe deleteMe"),
    auth("PUT", "/api/auth/me/password", role=USER, names="changePassword"),
    auth("GET", "/api/auth/sessions", role=USER, names="listSessions"),
    auth("DELETE", "/api/auth/sessions/{id}", role=USER, names="endSession"),
    auth("GET", "/.well-known/jwks.json", reads_token=False, names="getJwks"),
    auth("GET POST", "/api/users", role=ADMIN, limit="admin"),
    auth("GET", "/api/users/{id}"),
    auth("PUT PATCH DELETE", "/api/users/{id}", role=ADMIN, limit="admin"),
    auth("GET", "/api/admin/users", role=ADMIN, limit="admin", names="listAccounts"),
    auth("PATCH", "/api/admin/users/{id}", role=ADMIN, limit="admin", names="updateAccount"),
    auth("GET", "/api/admin/audit", role=ADMIN, limit="admin", names="listAuditEvents"),
)

POSTS = (
    posts("GET", "/api/posts"),
    posts("POST", "/api/posts", role=USER, form=FORM),
    posts("GET", "/api/posts/{id}"),
    posts("PUT PATCH DELETE", "/api/posts/{id}", role=USER, form=FORM),
    posts("POST", "/api/posts/{id}/restore", role=USER, names="restorePost"),
    posts("PUT DELETE", "/api/posts/{id}/like", role=USER, form=FORM, names="likePost unlikePost"),
    posts("GET", "/api/posts/{id}/comments"),
    posts("POST", "/api/posts/{id}/comments", role=USER, form=FORM),
    posts("PATCH DELETE", "/api/comments/{id}", role=USER, form=FORM),
    posts("GET", "/api/admin/comments", role=MODERATOR, limit="admin", names="listHiddenComments"),
    posts("GET", "/api/users/{userId}/posts"),
    posts("GET", "/api/users/{userId}/posts/{postId}"),
    posts("PUT PATCH DELETE", "/api/users/{userId}/posts/{postId}", role=USER),
    posts("GET", "/api/tags"),
    posts("GET", "/api/categories"),
    posts("POST", "/api/categories", role=MODERATOR),
    posts("PATCH DELETE", "/api/categories/{id}", role=MODERATOR),
)

UPLOADS = (
    files_in("POST", "/api/upload", form=MULTIPART, names="uploadFile"),
    files_in("POST", "/api/uploads", max_body=UPLOADS_LIMIT, first_byte=60.0, names="uploadFiles"),
    uploads("GET", "/api/uploads", role=USER),
    uploads("GET", "/api/uploads/{id}", role=USER),
    uploads("PATCH DELETE", "/api/uploads/{id}", role=USER, form=FORM),
    uploads("POST", "/api/uploads/{id}/sign", role=USER, names="signUpload"),
    files_in("POST", "/api/uploads/tus", names="createTusUpload"),
    files_in(
        "HEAD PATCH DELETE",
        "/api/uploads/tus/{id}",
        limit="general",
        names="getTusUpload sendTusUpload deleteTusUpload",
    ),
    uploads("GET", "/api/files/by-id/{id}", limit="files", names="downloadFileById"),
    uploads("GET", "/api/files/{userId}/{path…}", limit="files", names="downloadFile"),
    files_in("POST PUT", "/api/files/{userId}/{path…}", names="createFile replaceFile"),
    uploads("DELETE", "/api/files/{userId}/{path…}", role=USER, names="deleteFile"),
)

MESSAGES = (
    messages("POST", "/api/contact", limit="contact", max_body=FORM_LIMIT, form=FORM, names="sendContactMessage"),
    messages("GET", "/api/admin/contact", role=MODERATOR, limit="admin", names="listContactMessages"),
    messages("PATCH", "/api/admin/contact/{id}", role=MODERATOR, limit="admin", names="updateContactMessage"),
    messages("GET", "/api/notifications", role=USER),
    messages("PATCH", "/api/notifications/{id}", role=USER),
    messages("POST", "/api/notifications/read-all", role=USER, names="readAllNotifications"),
    messages("GET", "/api/events", names="listenToEvents"),
    messages("POST", "/api/events/ticket", role=USER, names="createEventTicket"),
)


@dataclass(frozen=True)
class Upstream:
    """A service behind the gateway: its default port and its routes.

    Health is `unhealthy` while an `essential` service is down. `invalidation` maps the noun of a fact's type to the
    cache tags that the fact purges. Example: the fact `comment.created` of post 7 purges `posts` and `post-7`. With
    `counts_views` the gateway reports views of cached responses to the service.
    """

    port: int
    routes: tuple[Route, ...]
    essential: bool = False
    invalidation: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts_views: bool = False

    @property
    def streams(self) -> bool:
        """Return whether clients send it large bodies."""
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
    """A node in the tree of path segments, with the routes that end here by method."""

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
        """Add a row, with HEAD for GET, and OPTIONS without a role; raise ValueError if it contradicts another row."""
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
    """The routes in a tree of path segments; a lookup costs the same for any number of routes."""

    def __init__(self, routes: Iterable[Route] = ROUTES) -> None:
        self._root = Node()
        for route in routes:
            node = self._root
            for segment in route.pattern.split("/"):
                node = node.child(segment)
            node.add(route)

    def find(self, path: str) -> Node | None:
        """Return the node of the most specific pattern that matches a canonical path, or None."""
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
