"""Posts and comments from plain HTML forms, as a browser without script sends them."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from shared.identity.csrf import Csrf
from shared.ids import new_id
from shared.service import service_of
from tests.conftest import MakeToken, on_sqlite
from tests.helpers import assert_problem
from tests.posts.conftest import Client, Headers, Write, body, refused

URL = "/api/posts"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Origin": "http://localhost:3000"}
OTHER_FIELDS = {"excerpt": "Light.", "category": "", "coverImage": ""}

pytestmark = on_sqlite
Send = Callable[..., Any]


@pytest.fixture
def client(app: Flask) -> Client:
    """A client whose cookies are those that a test names."""
    return app.test_client(use_cookies=False)


@pytest.fixture
def send(client: Client) -> Send:
    """Send a form; a field that is a list is there several times."""

    def send(path: str, headers: Headers, **fields: Any) -> Any:
        form = urlencode(fields, doseq=True)
        return client.post(path, data=form, content_type="application/x-www-form-urlencoded", headers=headers)

    return send


def test_a_form_writes_the_post_that_json_writes(send: Send, client: Client, write: Write, ann: Headers) -> None:
    tags = ["River", "Light"]
    by_json = write(tags=tags, excerpt="Light.")
    by_form = send(URL, ann, **body(tags=tags) | OTHER_FIELDS)
    assert (by_form.status_code, by_form.headers["Location"]) == (201, f"{URL}/{by_form.json['data']['id']}")
    differing = {key for key, value in by_json.items() if by_form.json["data"][key] != value}
    assert differing <= {"id", "slug", "publishedAt", "createdAt", "updatedAt"}


def test_a_browser_goes_on_to_where_the_form_says(send: Send, client: Client, ann: Headers) -> None:
    answer = send(URL, ann | BROWSER, **body(_next="/posts?page=1", website=""))
    assert (answer.status_code, answer.headers["Location"], answer.data) == (303, "/posts?page=1", b"")
    (post,) = client.get(URL).json["data"]
    assert set(answer.headers["Cache-Tag"].split(", ")) == {"posts", f"post-{post['id']}"}
    assert send(URL, ann | BROWSER, **body(_next="https://evil.example")).headers["Location"] == "/"


def test_lines_of_a_text_area_stay_as_they_were_sent(send: Send, ann: Headers) -> None:
    content = "  The first line.\r\n\r\n<b>The second</b>\t& last.\r\n"
    assert send(URL, ann, **body(content=content)).json["data"]["content"] == content


def test_a_browser_comments_and_replies(send: Send, client: Client, write: Write, bob: Headers) -> None:
    comments = f"{URL}/{write()['id']}/comments"
    assert send(comments, bob | BROWSER, content="Hello", parentId="", _next="/").status_code == 303
    (first,) = client.get(comments).json["data"]
    answer = send(comments, bob | BROWSER, content="Once more", parentId=first["id"], _next=f"{comments}#last")
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{comments}#last")
    assert [(item["content"], item["depth"]) for item in client.get(comments).json["data"]] == [
        ("Hello", 1),
        ("Once more", 2),
    ]


def test_what_is_wrong_in_a_form_is_a_page_that_says_so(send: Send, client: Client, write: Write, ann: Headers) -> None:
    comments = f"{URL}/{write()['id']}/comments"
    refusals = [
        (send(URL, ann | BROWSER, title="No"), 400, "title: Length must be between 3 and 200."),
        (send(URL, ann | BROWSER, **body(status="archived")), 400, "status: Must be one of: draft, published."),
        (send(URL, ann | BROWSER, **body(category="no-such")), 400, "category: Is no category."),
        (send(URL, ann | BROWSER, **body(tags="a" * 51)), 400, "tags.0: Length must be between 1 and 50."),
        (send(URL, BROWSER, **body()), 401, "You are not signed in"),
        (send(comments, ann | BROWSER, content=""), 400, "content: Missing data for required field."),
        (send(comments, ann | BROWSER, content="Hello", parentId=new_id()), 400, "parentId: Is no comment"),
        (send(f"{URL}/{new_id()}/comments", ann | BROWSER, content="Hello"), 404, "There is nothing here"),
    ]
    for answer, status, text in refusals:
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
        assert text in answer.text
    assert len(client.get(URL).json["data"]) == 1
    assert client.get(comments).json["data"] == []


def test_too_many_comments_by_form_are_a_page_as_well(send: Send, write: Write, ann: Headers) -> None:
    comments = f"{URL}/{write()['id']}/comments"
    statuses = [send(comments, ann | BROWSER, content="Hello").status_code for _ in range(10)]
    last = send(comments, ann | BROWSER, content="Hello")
    assert (statuses, last.status_code) == ([303] * 10, 429)
    assert int(last.headers["Retry-After"]) > 0
    assert "<h1>Too many requests</h1>" in last.text


def test_a_program_that_sends_a_form_gets_json(send: Send, ann: Headers) -> None:
    refused(send(URL, ann, title="No"), 400, "VALIDATION_ERROR", "content", "title")


@pytest.mark.parametrize("path", ["", "/{}/comments"])
def test_a_session_needs_the_token_and_a_page_of_ours(
    app: Flask, send: Send, write: Write, make_token: MakeToken, path: str
) -> None:
    session = new_id()
    csrf = service_of(app).get(Csrf).token(session)
    cookies = {"Cookie": f"authToken={make_token(sid=session)}; csrfToken={csrf}"}
    address = URL + path.format(write()["id"])
    fields = body() if path == "" else {"content": "Hello"}
    foreign = {"Origin": "https://evil.example"}
    assert_problem(send(address, cookies | foreign, **fields, _csrf=csrf), 403, "CSRF_FAILED")
    assert_problem(send(address, cookies, **fields, _csrf=csrf), 403, "CSRF_FAILED")
    assert send(address, cookies | BROWSER, **fields).status_code == 403
    assert send(address, cookies | BROWSER, **fields, _csrf=csrf).status_code == 303


def test_a_form_edits_deletes_and_likes_by_the_method_that_it_states(
    send: Send, client: Client, write: Write, ann: Headers
) -> None:
    post = write(tags=["a"])
    address = f"{URL}/{post['id']}"
    edited = send(address, ann | BROWSER, _method="PATCH", title="Anew", tags=["b", "c"], _next="/posts")
    assert (edited.status_code, edited.headers["Location"], edited.data) == (303, "/posts", b"")
    shown = client.get(address).json["data"]
    assert (shown["title"], shown["tags"], shown["content"]) == ("Anew", ["b", "c"], post["content"])
    assert send(address, ann | BROWSER, _method="put", **body(title="Replaced")).status_code == 303
    assert client.get(address).json["data"]["tags"] == []
    assert send(f"{address}/like", ann, _method="PUT").json["data"] == {"liked": True, "likeCount": 1}
    assert send(f"{address}/like", ann | BROWSER, _method="DELETE").status_code == 303
    comment = client.post(f"{address}/comments", json={"content": "Hello"}, headers=ann).json["data"]["id"]
    assert send(f"/api/comments/{comment}", ann | BROWSER, _method="PATCH", content="Bye").status_code == 303
    assert client.get(f"{address}/comments").json["data"][0]["content"] == "Bye"
    assert send(f"/api/comments/{comment}", ann | BROWSER, _method="DELETE").status_code == 303
    assert send(address, ann, _method="DELETE").status_code == 204
    assert client.get(address).status_code == 404


def test_a_form_that_states_a_method_is_refused_as_a_page(send: Send, write: Write, ann: Headers, bob: Headers) -> None:
    address = f"{URL}/{write()['id']}"
    for headers, fields, status, text in [
        (ann, {"_method": "PATCH", "title": "x" * 1000}, 400, "title"),
        (ann, {"_method": "PATCH", "name": "x"}, 400, "Unknown field."),
        (ann, {"_method": "DELETE", "name": "x"}, 400, "Unknown field."),
        (bob, {"_method": "DELETE"}, 403, "somebody else"),
        ({}, {"_method": "DELETE"}, 401, "<h1>"),
    ]:
        answer = send(address, headers | BROWSER, **fields)
        assert (answer.status_code, text in answer.text) == (status, True), answer.text


@pytest.mark.parametrize("method", ["", "POST", "GET", "TRACE", "PATCH PUT", "restore"])
def test_any_other_stated_method_is_none(send: Send, write: Write, ann: Headers, method: str) -> None:
    assert_problem(send(f"{URL}/{write()['id']}", ann, _method=method, title="x"), 405, "METHOD_NOT_ALLOWED")


def test_a_stated_method_does_not_count_where_post_is_taken(send: Send, client: Client, ann: Headers) -> None:
    assert send(URL, ann | BROWSER, **body(_method="DELETE")).status_code == 303
    assert len(client.get(URL).json["data"]) == 1


def test_a_view_that_takes_no_form_takes_no_stated_method(send: Send, as_user: Any) -> None:
    answer = send(f"/api/categories/{new_id()}", as_user(role="moderator"), _method="DELETE")
    assert_problem(answer, 405, "METHOD_NOT_ALLOWED")


def test_a_stated_method_needs_the_token_of_the_session(
    app: Flask, send: Send, client: Client, write: Write, make_token: MakeToken
) -> None:
    session, post = new_id(), write()
    csrf = service_of(app).get(Csrf).token(session)
    token = make_token(user_id=post["author"]["id"], sid=session)
    cookies = {"Cookie": f"authToken={token}; csrfToken={csrf}"}
    address = f"{URL}/{post['id']}"
    foreign = cookies | BROWSER | {"Origin": "https://evil.example"}
    assert_problem(send(address, foreign | {"Accept": "*/*"}, _method="DELETE", _csrf=csrf), 403, "CSRF_FAILED")
    assert send(address, cookies | BROWSER, _method="DELETE").status_code == 403
    assert send(address, cookies | BROWSER, _method="DELETE", _csrf=csrf).status_code == 303


def test_a_repeated_key_repeats_the_answer_to_a_form(send: Send, client: Client, ann: Headers) -> None:
    headers = ann | BROWSER | {"Idempotency-Key": "form-1"}
    assert [send(URL, headers, **body(_next="/a")).status_code for _ in range(2)] == [303, 303]
    assert len(client.get(URL).json["data"]) == 1
    refused = [send(URL, headers | {"Idempotency-Key": "form-2"}, **body(category="none")) for _ in range(2)]
    assert refused[0].data == refused[1].data
    assert {answer.headers["Content-Security-Policy"] for answer in refused} == {
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    }
