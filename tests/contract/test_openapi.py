"""The OpenAPI document says what the running product answers; `Stack.request` checks every answer against it."""

import base64
import subprocess
import sys
from typing import Any

import orjson
import pytest
from urllib3.filepost import encode_multipart_formdata

from services.gateway.pages.docs import VERSION
from tests.e2e.stack import ROOT, SERVICES, Stack
from tests.openapi import Described, Document, assert_valid, operations
from tests.waiting import wait_until

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc000000301"
    "0100c9fe92ef0000000049454e44ae426082"
)
PASSWORD = "a long secret"
# Answered by outside hosts, for ever, or only to what a mail holds, which tests/e2e/test_mail.py does.
ELSEWHERE = ("/api/proxy/", "/api/events", "verify-email", "reset-password")


@pytest.fixture(scope="module")
def document(stack: Stack) -> Document:
    found: Document = stack.get("/api/openapi.json")[1]
    assert "x-missing" not in found
    return found


@pytest.mark.parametrize("name", ["logout", "logout-all"])
def test_logging_out_is_documented_for_somebody_signed_in(document: Document, name: str) -> None:
    security = {path: document["paths"][f"/api/auth/{path}"] for path in (name, "me", "login")}
    assert security[name]["post"]["security"] == security["me"]["get"]["security"]
    assert security["login"]["post"]["security"] == []


def test_the_document_of_the_whole_is_valid(document: Document) -> None:
    assert_valid(document)
    assert {"posts", "uploads", "me", "hello"} <= {tag["name"] for tag in document["tags"]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_services_own_document_needs_the_internal_token(stack: Stack, service: str) -> None:
    assert stack.get("/internal/openapi.json", service=service)[0] == 404
    assert stack.get("/internal/openapi.json")[0] == 404


class Walk:
    """Somebody who asks for one thing after the other, and expects each to succeed."""

    def __init__(self, stack: Stack, email: str) -> None:
        self.stack = stack
        signin = self("POST", "/api/auth/login", {"email": email, "password": PASSWORD}, token="")
        self.token: str = signin["accessToken"]
        self.refresh: str = signin["refreshToken"]
        self.id: str = signin["user"]["id"]

    def __call__(self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str) -> Any:
        given = self.token if token is None else token
        answer = self.stack.request(method, path, body, given or None, **headers)
        assert answer.status < 400, (method, path, answer.status, answer.data)
        is_json = answer.data and "json" in answer.headers.get("Content-Type", "")
        return orjson.loads(answer.data).get("data") if is_json else answer

    def send_files(self, method: str, path: str, *files: tuple[str, Any]) -> Any:
        body, kind = encode_multipart_formdata([(field, content) for field, content in files])
        return self(method, path, body, Content_Type=kind)


def new_email(stack: Stack) -> str:
    return str(stack.register()["user"]["email"])


@pytest.fixture(scope="module")
def admin(stack: Stack) -> Walk:
    email = new_email(stack)
    command = [sys.executable, "-m", "services", "admin", email]
    subprocess.run(command, cwd=ROOT, env=stack.environment, check=True, capture_output=True)
    return Walk(stack, email)


def walk_accounts(stack: Stack, admin: Walk) -> None:
    admin("GET", "/api/auth/me")
    admin("PATCH", "/api/auth/me", {"bio": "Some words."})
    admin("GET", "/api/admin/users?limit=2")
    admin("GET", "/api/admin/audit?limit=2")
    admin("GET", "/api/users?limit=2")
    made = admin("POST", "/api/users", {"name": "Made by Hand", "email": f"made-{admin.id}@example.com"})
    admin("PUT", f"/api/users/{made['id']}", {"name": "Made Again", "email": f"made-{admin.id}@example.com"})
    admin("PATCH", f"/api/users/{made['id']}", {"name": "Made Twice"})
    admin("PATCH", f"/api/admin/users/{made['id']}", {"role": "moderator"})
    admin("GET", f"/api/users/{made['id']}")
    admin("DELETE", f"/api/users/{made['id']}")
    user = Walk(stack, new_email(stack))
    user("POST", "/api/auth/refresh", {"refreshToken": user.refresh}, token="")
    Walk(stack, user("GET", "/api/auth/me")["email"])
    other, *_ = [session for session in user("GET", "/api/auth/sessions") if not session["current"]]
    user("DELETE", f"/api/auth/sessions/{other['id']}")
    user("PUT", "/api/auth/me/password", {"oldPassword": PASSWORD, "newPassword": "another long secret"})
    user("DELETE", "/api/auth/me", {"password": "another long secret"})
    for path in ("/api/auth/logout", "/api/auth/logout-all"):
        Walk(stack, new_email(stack))("POST", path)
    admin("POST", "/api/auth/forgot-password", {"email": "nobody@example.com"}, token="")
    admin("POST", "/api/auth/verify-email/resend", {"email": "nobody@example.com"}, token="")
    admin("GET", "/.well-known/jwks.json", token="")


def walk_posts(stack: Stack, admin: Walk) -> None:
    category = admin("POST", "/api/categories", {"name": f"Things of {admin.id}"})
    admin("PATCH", f"/api/categories/{category['id']}", {"name": f"More of {admin.id}"})
    body = {"title": "A title", "content": "Some words to read.", "status": "published", "tags": ["a"]}
    post = admin("POST", "/api/posts", body, Idempotency_Key="walk")
    again = admin("POST", "/api/posts", body, Idempotency_Key="walk")
    assert again == post
    for target in (f"/api/posts/{post['id']}", f"/api/users/{admin.id}/posts/{post['id']}"):
        found = admin("PUT", target, body)
        admin("PATCH", target, {"title": f"Another title {len(target)}"})
        assert found["id"] == admin("GET", target)["id"]
        admin("DELETE", target)
        admin("POST", f"/api/posts/{post['id']}/restore")
    tag = stack.request("GET", f"/api/posts/{post['id']}").headers["ETag"]
    assert stack.request("GET", f"/api/posts/{post['id']}", If_None_Match=tag).status == 304
    for query in ("?q=words&highlight=true", "?sort=views", f"?author={admin.id}", "?page=1&limit=1"):
        admin("GET", f"/api/posts{query}", token="")
    admin("GET", f"/api/users/{admin.id}/posts")
    admin("PUT", f"/api/posts/{post['id']}/like")
    admin("DELETE", f"/api/posts/{post['id']}/like")
    comment = admin("POST", f"/api/posts/{post['id']}/comments", {"content": "Hello"})
    admin("GET", f"/api/posts/{post['id']}/comments?tree=1", token="")
    admin("PATCH", f"/api/comments/{comment['id']}", {"content": "Hello again"})
    admin("GET", "/api/admin/comments?status=hidden")
    admin("DELETE", f"/api/comments/{comment['id']}")
    admin("GET", "/api/tags", token="")
    admin("GET", "/api/categories", token="")
    admin("DELETE", f"/api/categories/{category['id']}")


def walk_uploads(stack: Stack, admin: Walk) -> None:
    upload = admin.send_files("POST", "/api/upload", ("file", ("a.png", PICTURE)))
    admin.send_files("POST", "/api/uploads", ("files", ("b.png", PICTURE)), ("files", ("c.png", PICTURE)))
    admin("GET", "/api/uploads")
    admin("GET", f"/api/uploads/{upload['id']}")
    for way in (f"/api/files/by-id/{upload['id']}", upload["path"]):
        admin("GET", way, token="")
        admin("GET", way, token="", Range="bytes=0-3")
        assert stack.request("GET", way, Range="bytes=99999-").status == 416
    admin("PATCH", f"/api/uploads/{upload['id']}", {"private": True})
    admin("POST", f"/api/uploads/{upload['id']}/sign", {"expiresIn": 60})
    admin("DELETE", f"/api/uploads/{upload['id']}")
    own = f"/api/files/{admin.id}/walk/d.png"
    admin("POST", own, PICTURE, Content_Type="image/png")
    admin("PUT", own, PICTURE, Content_Type="image/png")
    admin("PUT", own.replace("d.png", "e.png"), PICTURE, Content_Type="image/png")
    admin("DELETE", own)
    tus = {"Tus_Resumable": "1.0.0"}
    name = base64.b64encode(b"f.png").decode()
    about = tus | {"Upload_Length": str(len(PICTURE)), "Upload_Metadata": f"filename {name}"}
    place = admin("POST", "/api/uploads/tus", **about).headers["Location"]
    admin("HEAD", place, **tus)
    kind = {"Content_Type": "application/offset+octet-stream", "Upload_Offset": "0"}
    admin("PATCH", place, PICTURE, **tus, **kind)
    admin("DELETE", place, **tus)


def walk_messages(stack: Stack, admin: Walk) -> None:
    words = {"name": "Ann", "email": "ann@example.com", "subject": "A question", "message": "Some words to read."}
    admin("POST", "/api/contact", words, token="")
    written = admin("GET", "/api/admin/contact")
    admin("PATCH", f"/api/admin/contact/{written[0]['id']}", {"status": "read"})
    reader = Walk(stack, new_email(stack))
    reader("POST", "/api/events/ticket")
    wait_until(lambda: reader("GET", "/api/notifications"))
    told = reader("GET", "/api/notifications")
    reader("PATCH", f"/api/notifications/{told[0]['id']}", {"read": True})
    reader("POST", "/api/notifications/read-all")


def walk_the_gateway(stack: Stack, admin: Walk) -> None:
    for path in (
        "hello",
        "health",
        "docs",
        "docs/docs.js",
        f"docs/{VERSION}/swagger-ui.css",
        "errors/NOT_FOUND",
        "openapi.json",
    ):
        admin("GET", f"/api/{path}", token="")
    admin("POST", "/api/hello", {"a": [1]})
    assert stack.request("GET", "/api/errors/NOT_FOUND", Accept="text/html").status == 200


def test_every_operation_answers_as_the_document_says(stack: Stack, document: Document, admin: Walk) -> None:
    for walk in (walk_the_gateway, walk_accounts, walk_posts, walk_uploads, walk_messages):
        walk(stack, admin)
    succeeded = {(method.lower(), path) for method, path, status in stack.described.seen if status < 400}
    missed = [(method, path) for path, method, _ in operations(document) if (method, path) not in succeeded]
    assert [(method, path) for method, path in missed if not any(part in path for part in ELSEWHERE)] == []


REFUSED: dict[str, tuple[str, str, Any]] = {
    "no echo": ("POST", "/api/hello", b"{"),
    "no error code": ("GET", "/api/errors/X", None),
    "a registration that is wrong": ("POST", "/api/auth/register", {"name": "x"}),
    "a login that is wrong": ("POST", "/api/auth/login", {"email": "nobody@example.com", "password": "12345678"}),
    "a list that is wrong": ("GET", "/api/posts?limit=1000", None),
    "a query that is too long": ("GET", f"/api/posts?q={'x' * 9000}", None),
    "a post that is wrong": ("POST", "/api/posts", {"title": ""}),
    "no post": ("GET", "/api/posts/nothing-here", None),
    "an outside host": ("GET", "/api/proxy/evil.example/x", None),
    "a category that is there": ("POST", "/api/categories", {"name": "x"}),
    "no form": ("POST", "/verify-email", {"token": "x"}),
    "another version of tus": ("POST", "/api/uploads/tus", None),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_as_the_document_says(stack: Stack, case: str) -> None:
    method, target, body = REFUSED[case]
    headers = {"Content_Type": "application/json"} if isinstance(body, bytes) else {}
    assert stack.request(method, target, body, str(stack.register()["accessToken"]), **headers).status >= 400


def test_the_check_itself_finds_what_is_wrong(document: Document) -> None:
    described = Described(document)
    kind = {"Content-Type": "application/json", "X-Request-ID": "x"}

    def objections(status: int, body: Any, headers: dict[str, str] | None = None) -> list[str]:
        return described.objections("GET", "/api/hello", status, headers or kind, orjson.dumps(body))

    right = {"message": "Hello", "timestamp": "2026-01-31T09:30:00Z", "userAgent": None}
    assert objections(200, {"success": True, "data": right}) == []
    assert objections(200, {"success": False, "data": right}) == ["$.success: True was expected"]
    assert objections(200, {"success": True}) == ["$: 'data' is a required property"]
    assert objections(418, {}) == ["418 is not documented"]
    assert objections(200, {"success": True, "data": right}, {"Content-Type": "text/plain"}) == [
        "the header X-Request-ID is missing", "text/plain is not documented",
    ]  # fmt: skip
    assert described.objections("GET", "/nothing", 404, {}, b"") == []
