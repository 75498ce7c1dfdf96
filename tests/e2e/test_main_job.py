"""The main job over HTTP, through the gateway and on the services' own ports."""

import io
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from tests.e2e.stack import OWN_PATHS, SERVICES, Stack
from tests.waiting import assert_within, wait_until


def png() -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(target, "PNG")
    return target.getvalue()


def test_health_names_every_service(stack: Stack) -> None:
    status, health = stack.get("/api/health")
    assert status == 200
    assert {*SERVICES} - {"gateway"} <= health["data"]["checks"].keys()


def test_a_stranger_reads_what_a_user_published(stack: Stack) -> None:
    account = stack.register("Main Job")
    token = account["accessToken"]
    assert stack.get("/api/auth/me", token)[1]["data"]["name"] == "Main Job"
    post = stack.publish(token, "Read by a stranger")
    assert stack.get(f"/api/posts/{post['slug']}")[1]["data"]["author"]["name"] == "Main Job"
    listed = stack.get(f"/api/posts?author={account['user']['id']}")[1]
    assert [item["id"] for item in listed["data"]] == [post["id"]]


def test_plain_forms_write_a_post_and_a_comment(stack: Stack) -> None:
    email = stack.register("Form Writer")["user"]["email"]
    login = stack.request("POST", "/api/auth/login", {"email": email, "password": "a long secret", "rememberMe": True})
    jar = dict(line.partition(";")[0].split("=", 1) for line in login.headers.getlist("Set-Cookie"))
    browser = {"Cookie": "; ".join(f"{name}={jar[name]}" for name in ("authToken", "csrfToken")), "Accept": "text/html"}

    def send(path: str, origin: str, **fields: str) -> tuple[int, str | None, bytes]:
        headers = browser | {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin}
        answer = stack.request("POST", path, urlencode(fields | {"_csrf": jar["csrfToken"]}).encode(), **headers)
        return answer.status, answer.headers.get("Location"), answer.data

    here, mine = "http://localhost:3000", "/api/posts?author=Form+Writer"
    post = {"title": "By a form", "content": "Some words to read.", "status": "published"}
    assert stack.get(mine)[1]["data"] == []
    assert send("/api/posts", "https://evil.example", **post)[0] == 403
    assert send("/api/posts", here, **post, _next="/posts") == (303, "/posts", b"")
    (written,) = stack.get(mine)[1]["data"]
    comments = f"/api/posts/{written['id']}/comments"
    assert stack.get(comments)[1]["data"] == []
    assert send(comments, here, content="Hello", _next="//evil.example") == (303, "/", b"")
    assert [comment["content"] for comment in stack.get(comments)[1]["data"]] == ["Hello"]
    status, _, page = send(comments, here, content="")
    assert (status, b"<li>content: " in page) == (400, True)


def test_a_picture_comes_back_as_it_was_stored(stack: Stack) -> None:
    token = stack.register()["accessToken"]
    uploaded = stack.upload("dot.png", png(), token)
    for path in (f"/api/files/by-id/{uploaded['id']}", uploaded["path"]):
        answer = stack.request("GET", path)
        assert (answer.status, answer.headers["Content-Type"], len(answer.data)) == (200, "image/png", uploaded["size"])


def test_a_cover_image_can_be_fetched_and_goes_with_its_upload(stack: Stack) -> None:
    token = stack.register()["accessToken"]
    uploaded = stack.upload("dot.png", png(), token)
    body = {"title": "With a cover", "content": "Some words to read.", "status": "published"}
    post = stack.post("/api/posts", body | {"coverImage": uploaded["id"]}, token)[1]["data"]
    path = post["coverImage"]["url"].removeprefix(f"http://localhost:{stack.ports['gateway']}")
    assert stack.request("GET", path).headers["Content-Type"] == "image/png"

    def covers() -> list[Any]:
        """Return what strangers see of it, from the cache where they can."""
        listed = {item["id"]: item for item in stack.get("/api/posts?limit=100")[1]["data"]}[post["id"]]
        return [listed["coverImage"], stack.get(f"/api/posts/{post['id']}")[1]["data"]["coverImage"]]

    assert covers() == covers() == [post["coverImage"]] * 2
    assert stack.request("DELETE", f"/api/uploads/{uploaded['id']}", token=token).status == 204
    wait_until(lambda: covers() == [None, None])


@pytest.mark.parametrize("service", [name for name in OWN_PATHS if name != "gateway"])
def test_each_service_checks_the_token_on_its_own_port(stack: Stack, service: str) -> None:
    path = OWN_PATHS[service]
    assert stack.get(path, "not.a.token", service)[0] == 401
    assert stack.get(path, stack.register()["accessToken"], service)[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/internal/feed", "/metrics"])
def test_what_is_internal_is_not_on_the_public_port(stack: Stack, path: str) -> None:
    assert stack.get(path)[0] == 404


@pytest.mark.parametrize("service", [name for name in SERVICES if name != "gateway"])
def test_each_service_says_that_it_is_alive_and_ready(stack: Stack, service: str) -> None:
    assert stack.get("/healthz", service=service)[0] == 200
    assert stack.get("/readyz", service=service)[0] == 200


def test_a_changed_name_shows_on_earlier_posts(stack: Stack) -> None:
    token = stack.register("Old Name")["accessToken"]
    post = stack.publish(token)
    assert stack.request("PATCH", "/api/auth/me", {"name": "New Name"}, token).status == 200
    wait_until(lambda: stack.get(f"/api/posts/{post['id']}")[1]["data"]["author"]["name"] == "New Name")


@pytest.mark.parametrize("service", OWN_PATHS)
def test_a_session_that_ended_is_refused_everywhere(stack: Stack, service: str) -> None:
    path = OWN_PATHS[service]

    def end() -> float:
        token = stack.register()["accessToken"]
        assert stack.get(path, token, service)[0] == 200
        assert stack.request("POST", "/api/auth/logout", token=token).status == 204
        took = wait_until(lambda: stack.get(path, token, service)[0] == 401)
        assert stack.get(path, token, service)[1]["code"] == "TOKEN_REVOKED"
        return took

    assert_within(2, end)
