"""Files from plain HTML forms, as a browser without script sends them."""

from typing import Any

import pytest
from flask import Flask

from services.uploads.config import Config
from shared.identity.csrf import Csrf
from shared.ids import new_id
from shared.service import service_of
from tests.conftest import MakeToken
from tests.helpers import assert_problem
from tests.uploads.conftest import Client, Headers, Send, kept_files
from tests.uploads.samples import END, MULTIPART, form, texts

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Origin": "http://localhost:3000"}
PLAIN = "application/x-www-form-urlencoded"


@pytest.fixture
def browser(app: Flask) -> Client:
    """A client whose cookies are those that a test names."""
    return app.test_client(use_cookies=False)


@pytest.fixture
def session(app: Flask, make_token: MakeToken) -> tuple[Headers, str]:
    """The cookies of somebody signed in, and the CSRF token."""
    session = new_id()
    csrf = service_of(app).get(Csrf).token(session)
    return {"Cookie": f"authToken={make_token(sid=session)}; csrfToken={csrf}"} | BROWSER, csrf


def test_a_form_with_a_file_leads_to_where_it_says(client: Client, send: Send, ann: Headers) -> None:
    answer = send(headers=ann | BROWSER, _next="/gallery?page=2")
    assert (answer.status_code, answer.headers["Location"], answer.data) == (303, "/gallery?page=2", b"")
    assert send(headers=ann | BROWSER, _next="//evil.example").headers["Location"] == "/"
    assert len(client.get("/api/uploads", headers=ann).json["data"]) == 2
    assert send(headers=ann, _next="/gallery").status_code == 201


def test_a_refused_form_with_a_file_is_a_page(send: Send, ann: Headers) -> None:
    answer = send(b"no image", headers=ann | BROWSER)
    assert (answer.status_code, answer.mimetype) == (415, "text/html")
    assert "<h1>" in answer.text


@pytest.mark.parametrize("first", [True, False])
def test_a_form_with_a_file_proves_its_session_before_or_behind_the_file(
    browser: Client, session: tuple[Headers, str], first: bool
) -> None:
    cookies, csrf = session
    fields = {"_csrf": csrf, "_next": "/done"}
    data = texts(**fields) + form() if first else form(None, **fields)
    answer = browser.post("/api/upload", data=data, content_type=MULTIPART, headers=cookies)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/done")


@pytest.mark.parametrize("fields, changed", [
    ({}, {}), ({"_csrf": "x"}, {}), ({"_csrf": "\u00e9"}, {}), ({"_csrf": "right"}, {"Origin": "https://evil.example"}),
    ({"_csrf": "right"}, {"Origin": ""}),
])  # fmt: skip
def test_a_form_of_another_site_stores_nothing(
    config: Config, browser: Client, session: tuple[Headers, str], fields: dict[str, Any], changed: Headers
) -> None:
    cookies, csrf = session
    fields = {name: csrf if value == "right" else value for name, value in fields.items()}
    headers = cookies | {"Accept": "*/*"} | changed
    answer = browser.post("/api/upload", data=form(None, **fields), content_type=MULTIPART, headers=headers)
    assert_problem(answer, 403, "CSRF_FAILED")
    assert kept_files(config) == set()


def test_a_form_changes_and_deletes_an_upload_by_the_method_that_it_states(
    client: Client, upload: Send, ann: Headers
) -> None:
    address = f"/api/uploads/{upload()['id']}"

    def send_plain(**fields: str) -> Any:
        return client.post(address, data=fields, content_type=PLAIN, headers=ann | BROWSER)

    assert send_plain(_method="PATCH", private="on").status_code == 303
    assert client.get(address, headers=ann).json["data"]["private"] is True
    assert send_plain(_method="PATCH", private="maybe").status_code == 400
    assert send_plain(_method="DELETE", _next="/uploads").headers["Location"] == "/uploads"
    assert client.get(address, headers=ann).status_code == 404


def test_a_form_that_is_cut_off_is_refused(browser: Client, session: tuple[Headers, str]) -> None:
    cookies, csrf = session
    data = form(_csrf=csrf).removesuffix(END)
    answer = browser.post("/api/upload", data=data, content_type=MULTIPART, headers=cookies)
    assert answer.status_code == 400
