import pytest

from services.gateway.rate_limit.classes import CLASSES
from services.gateway.routes import ROUTES, RouteTable, row
from shared.identity.roles import ADMIN, MODERATOR, USER

TABLE = RouteTable()


@pytest.mark.parametrize(
    "method, path, upstream, role, limit",
    [
        ("GET", "/api/hello", None, None, "general"),
        ("POST", "/api/hello", None, None, "general"),
        ("GET", "/api/health", None, None, None),
        ("GET", "/api/errors/NOT_FOUND", None, None, "general"),
        ("GET", "/api/proxy/a.example", None, USER, "general"),
        ("HEAD", "/api/proxy/a.example/", None, USER, "general"),
        ("PATCH", "/api/proxy/a.example/x/y", None, USER, "general"),
        ("OPTIONS", "/api/proxy/a.example/x/y/", None, USER, "general"),
        ("POST", "/api/auth/register", "auth", None, "register"),
        ("POST", "/api/auth/login", "auth", None, "login"),
        ("POST", "/api/auth/refresh", "auth", None, "refresh"),
        ("POST", "/api/auth/verify-email", "auth", None, "auth"),
        ("POST", "/api/auth/verify-email/resend", "auth", None, "auth"),
        ("POST", "/api/auth/forgot-password", "auth", None, "auth"),
        ("POST", "/api/auth/reset-password", "auth", None, "auth"),
        ("POST", "/api/auth/logout", "auth", None, "auth"),
        ("POST", "/api/auth/logout-all", "auth", None, "auth"),
        ("GET", "/api/auth/me", "auth", USER, "general"),
        ("DELETE", "/api/auth/me", "auth", USER, "general"),
        ("PUT", "/api/auth/me/password", "auth", USER, "general"),
        ("DELETE", "/api/auth/sessions/1", "auth", USER, "general"),
        ("GET", "/.well-known/jwks.json", "auth", None, "general"),
        ("GET", "/api/users", "auth", ADMIN, "admin"),
        ("GET", "/api/users/1", "auth", None, "general"),
        ("DELETE", "/api/users/1", "auth", ADMIN, "admin"),
        ("PATCH", "/api/admin/users/1", "auth", ADMIN, "admin"),
        ("GET", "/api/admin/audit", "auth", ADMIN, "admin"),
        ("GET", "/api/users/1/posts", "posts", None, "general"),
        ("PUT", "/api/users/1/posts/2", "posts", USER, "general"),
        ("GET", "/api/posts", "posts", None, "general"),
        ("POST", "/api/posts", "posts", USER, "general"),
        ("GET", "/api/posts/%E6%97%A5", "posts", None, "general"),
        ("POST", "/api/posts/1/restore", "posts", USER, "general"),
        ("PUT", "/api/posts/1/like", "posts", USER, "general"),
        ("GET", "/api/posts/1/comments", "posts", None, "general"),
        ("POST", "/api/posts/1/comments", "posts", USER, "general"),
        ("DELETE", "/api/comments/1", "posts", USER, "general"),
        ("GET", "/api/admin/comments", "posts", MODERATOR, "admin"),
        ("GET", "/api/tags", "posts", None, "general"),
        ("POST", "/api/categories", "posts", MODERATOR, "general"),
        ("PATCH", "/api/categories/1", "posts", MODERATOR, "general"),
        ("POST", "/api/upload", "uploads", USER, "upload"),
        ("POST", "/api/uploads", "uploads", USER, "upload"),
        ("GET", "/api/uploads/1", "uploads", USER, "general"),
        ("POST", "/api/uploads/1/sign", "uploads", USER, "general"),
        ("POST", "/api/uploads/tus", "uploads", USER, "upload"),
        ("OPTIONS", "/api/uploads/tus", "uploads", None, "general"),
        ("HEAD", "/api/uploads/tus/1", "uploads", USER, "general"),
        ("PATCH", "/api/uploads/tus/1", "uploads", USER, "general"),
        ("GET", "/api/files/by-id/1", "uploads", None, "files"),
        ("HEAD", "/api/files/u/a/b/c.png", "uploads", None, "files"),
        ("PUT", "/api/files/u/a.png", "uploads", USER, "upload"),
        ("DELETE", "/api/files/u/a.png", "uploads", USER, "general"),
        ("POST", "/api/contact", "messages", None, "contact"),
        ("GET", "/api/admin/contact", "messages", MODERATOR, "admin"),
        ("PATCH", "/api/admin/contact/1", "messages", MODERATOR, "admin"),
        ("GET", "/api/notifications", "messages", USER, "general"),
        ("PATCH", "/api/notifications/1", "messages", USER, "general"),
        ("POST", "/api/notifications/read-all", "messages", USER, "general"),
    ],
)
def test_a_route_has_an_owner_a_right_and_a_limit(
    method: str, path: str, upstream: str | None, role: str | None, limit: str | None
) -> None:
    node = TABLE.find(path)
    assert node is not None
    route = node.routes[method]
    assert (route.upstream, route.role, route.limit) == (upstream, role, limit)


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/api", "/api/", "/api/nothing", "/api/posts/", "/api/posts/1/2", "/api/posts/1/like/x", "/healthz",
        "/readyz", "/metrics", "/internal/feed", "/api/internal/feed", "/api/files", "/api/files/u", "/api/files/u/",
        "/api/files/u/a/", "/api/files/by-id/", "/.well-known/", "/API/posts", "/api/posts/1/", "/api/auth",
        "/api/proxy", "/api/proxy/",
    ],
)  # fmt: skip
def test_anything_else_is_not_there(path: str) -> None:
    assert TABLE.find(path) is None


@pytest.mark.parametrize(
    "path, allowed",
    [
        ("/api/posts", ("GET", "HEAD", "OPTIONS", "POST")),
        ("/api/auth/login", ("OPTIONS", "POST")),
        ("/api/users/1", ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "PUT")),
    ],
)
def test_a_path_knows_its_methods(path: str, allowed: tuple[str, ...]) -> None:
    node = TABLE.find(path)
    assert node is not None
    assert node.allowed == allowed


def test_anybody_may_ask_for_the_options_and_only_users_write() -> None:
    node = TABLE.find("/api/auth/me")
    assert node is not None
    assert node.routes["OPTIONS"].role is None
    assert node.routes["OPTIONS"].upstream == "auth"


@pytest.mark.parametrize(
    "path, pattern",
    [
        ("/a/b", "/a/b"),
        ("/a/x", "/a/{id}"),
        ("/a/b/c", "/a/b/c"),
        ("/a/x/c", "/a/{id}/c"),
        ("/a/b/d", "/a/{id}/d"),
        ("/a/b/e", "/a/{rest…}"),
        ("/a/x/y/z", "/a/{rest…}"),
    ],
)
def test_the_most_specific_pattern_wins(path: str, pattern: str) -> None:
    patterns = ["/a/{rest…}", "/a/{id}", "/a/b", "/a/{id}/c", "/a/{id}/d", "/a/b/c"]
    node = RouteTable([row("GET", known, upstream="x") for known in patterns]).find(path)
    assert node is not None
    assert node.routes["GET"].pattern == pattern


@pytest.mark.parametrize(
    "rows",
    [
        [row("GET", "/a", upstream="x"), row("GET", "/a", upstream="x")],
        [row("GET", "/a/{id}", upstream="x"), row("PUT", "/a/{other}", upstream="y")],
    ],
)
def test_a_table_that_contradicts_itself_is_refused(rows: list[object]) -> None:
    with pytest.raises(ValueError, match="/a"):
        RouteTable(rows)  # type: ignore[arg-type]


def test_every_limit_in_the_table_is_a_class() -> None:
    assert {route.limit for route in ROUTES} - {None} <= set(CLASSES)
