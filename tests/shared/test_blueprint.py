"""What goes in and out of a view: names, texts, numbers, queries, forms and envelopes."""

import warnings
from typing import Any

import marshmallow as ma
import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.web.blueprint import init_app
from shared.web.openapi import describing
from shared.web.schema import List, camel
from tests.helpers import assert_problem
from tests.shared.conftest import AsUser
from tests.shared.toys import resources

TOY = {"name": "train", "price": 5}


def load(client: FlaskClient, **members: Any) -> Any:
    return client.post("/api/odd/load", json=TOY | members)


def errors(client: FlaskClient, **members: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = assert_problem(load(client, **members), 400, "VALIDATION_ERROR")["errors"]
    return found


@pytest.mark.parametrize(
    "snake, wire", [("name", "name"), ("created_at", "createdAt"), ("a_b_c", "aBC"), ("alreadyCamel", "alreadyCamel")]
)
def test_names_are_camel_case_on_the_wire(snake: str, wire: str) -> None:
    assert camel(snake) == wire


def test_fields_are_camel_case_both_ways(client: FlaskClient, ann: dict[str, str]) -> None:
    assert load(client, ownerNote="x").json["data"]["owner_note"] == "x"
    made = client.post("/api/toys", json=TOY, headers=ann).get_json()
    assert made["success"] is True
    assert set(made["data"]) == {"id", "name", "price", "painted", "ownerId", "createdAt"}
    assert made["data"]["createdAt"].endswith("Z")


def test_a_view_that_takes_no_query_refuses_every_key(client: FlaskClient, ann: dict[str, str]) -> None:
    address = client.post("/api/toys", json=TOY, headers=ann).headers["Location"]
    for method, query in (("GET", "a=1"), ("HEAD", "a"), ("DELETE", "a=1")):
        assert client.open(f"{address}?{query}", method=method, headers=ann).status_code == 400
    body = assert_problem(client.get(f"{address}?%F0%9F%A6%84=1&b="), 400, "VALIDATION_ERROR")
    assert set(body["errors"]) == {"🦄", "b"}
    assert client.post("/api/toys?a=1", json=TOY, headers=ann).status_code == 400
    assert client.get(f"{address}?").status_code == 200
    assert client.get("/api/toys?sort=newest").status_code == 200


@pytest.mark.parametrize(
    "body, kind, status",
    [
        (b"", "", 204),
        (b"", "application/json", 204),
        (b" {} ", "application/json", 204),
        (b'{"force": true}', "application/json", 400),
        (b"[]", "application/json", 400),
        (b"null", "application/json", 204),
        (b"{", "application/json", 400),
        (b"{}", "", 415),
        (b"force=true", "application/x-www-form-urlencoded", 415),
    ],
)
def test_a_view_that_takes_no_body_refuses_what_one_says(
    client: FlaskClient, as_user: AsUser, ann: dict[str, str], body: bytes, kind: str, status: int
) -> None:
    address = client.post("/api/toys", json=TOY, headers=ann).headers["Location"]
    headers = as_user(role="moderator") | {"Content-Type": kind}
    assert client.delete(address, data=body, headers=headers).status_code == status
    assert client.get(address).status_code == (404 if status == 204 else 200)


@pytest.mark.parametrize("body, coding, status", [(b"{}", "gzip", 415), (b"{}", "identity", 204), (b"", "gzip", 204)])
def test_a_compressed_body_is_refused(
    client: FlaskClient, as_user: AsUser, ann: dict[str, str], body: bytes, coding: str, status: int
) -> None:
    address = client.post("/api/toys", json=TOY, headers=ann).headers["Location"]
    headers = as_user(role="moderator") | {"Content-Type": "application/json", "Content-Encoding": coding}
    response = client.delete(address, data=body, headers=headers)
    assert (response.status_code, response.headers.get("Accept-Encoding")) == (
        status, "identity" if status == 415 else None,
    )  # fmt: skip


def test_a_body_that_is_not_taken_is_told_by_its_keys(client: FlaskClient, as_user: AsUser) -> None:
    refused = client.delete("/api/toys/none", json={"force": True}, headers=as_user(role="moderator"))
    assert assert_problem(refused, 400, "VALIDATION_ERROR")["errors"] == {"force": ["Unknown field."]}


@pytest.mark.parametrize("name", ["  train  ", "\u3000train\u00a0", "train "])
def test_texts_are_trimmed_before_they_are_measured(client: FlaskClient, name: str) -> None:
    assert load(client, name=name).json["data"]["name"] == "train"
    assert "name" in errors(client, name="  x  ")
    assert load(client, name=" " * 300 + "train").status_code == 200


def test_a_verbatim_text_is_stored_as_it_came(client: FlaskClient) -> None:
    assert load(client, passWord="  x ").json["data"]["pass_word"] == "  x "


def test_texts_count_characters_and_not_bytes(client: FlaskClient) -> None:
    assert load(client, name="日" * 200).status_code == 200
    assert "name" in errors(client, name="日" * 201)


@pytest.mark.parametrize("char", ["\0", "\x01", "\x1b", "\x7f", "\x85", "\x9f", "\r", "\n", "\t"])
def test_control_characters_are_refused(client: FlaskClient, char: str) -> None:
    assert errors(client, name=f"tr{char}ain") == {"name": ["Must not contain control characters."]}


def test_lines_may_have_breaks_and_tabs_only(client: FlaskClient) -> None:
    assert load(client, ownerNote="a\r\n\tb").json["data"]["owner_note"] == "a\r\n\tb"
    for char in "\0\x08\x0b\x0c\x0e\x7f":
        assert "ownerNote" in errors(client, ownerNote=f"a{char}b")


@pytest.mark.parametrize("name", ["𝕿𝖗𝖆𝖎𝖓", "قطار", "电车玩具", "👩‍👩‍👧", "e\u0301e\u0301", "<script>", "a\u2028b"])
def test_texts_in_any_script_come_back_verbatim(client: FlaskClient, ann: dict[str, str], name: str) -> None:
    made = client.post("/api/toys", json=TOY | {"name": name}, headers=ann)
    assert made.get_json()["data"]["name"] == name
    assert client.get(made.headers["Location"]).get_json()["data"]["name"] == name


@pytest.mark.parametrize("value", [1.5, 1.0, "5", "", True, None, [], {}, -1, 10**12 + 1])
def test_an_integer_in_json_is_an_integer(client: FlaskClient, value: Any) -> None:
    assert set(errors(client, price=value)) == {"price"}


@pytest.mark.parametrize("value", ["true", "on", "", 1, 0, 1.0, None, []])
def test_a_boolean_in_json_is_a_boolean(client: FlaskClient, value: Any) -> None:
    assert set(errors(client, painted=value)) == {"painted"}


@pytest.mark.parametrize("value", [5, True, 1.5, [], {}])
def test_a_text_in_json_is_a_text(client: FlaskClient, value: Any) -> None:
    assert set(errors(client, name=value)) == {"name"}


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;x=y"]
)
def test_parameters_of_the_content_type_do_not_matter(client: FlaskClient, content_type: str) -> None:
    body = '{"name": "tréin", "price": 5}'.encode()
    response = client.post("/api/odd/load", data=body, headers={"Content-Type": content_type})
    assert response.get_json()["data"]["name"] == "tréin"


def test_a_charset_parameter_does_not_make_the_body_anything_but_utf_8(client: FlaskClient) -> None:
    body = '{"name": "tréin", "price": 5}'.encode("latin-1")
    headers = {"Content-Type": "application/json; charset=latin-1"}
    assert_problem(client.post("/api/odd/load", data=body, headers=headers), 400, "INVALID_JSON")


@pytest.mark.parametrize(
    "query, expected",
    [
        ("", {"limit": 20, "sort": "newest"}),
        ("page=&limit=&painted=&sort=", {"limit": 20, "sort": "newest"}),
        ("page=2&limit=100&painted=true", {"page": 2, "limit": 100, "painted": True, "sort": "newest"}),
        ("tag=a&tag=b&tag=", {"tag": ["a", "b"], "limit": 20, "sort": "newest"}),
        ("tag=", {"limit": 20, "sort": "newest"}),
    ],
)
def test_a_query_is_read_leniently_where_it_is_empty(client: FlaskClient, query: str, expected: dict[str, Any]) -> None:
    assert client.get(f"/api/odd/query?{query}").get_json()["data"] == expected


@pytest.mark.parametrize(
    "query, key",
    [
        ("pge=1", "pge"),
        ("Page=1", "Page"),
        ("page=1&page=1", "page"),
        ("page=1&page=", "page"),
        ("painted=1", "painted"),
        ("painted=on", "painted"),
        ("painted=True", "painted"),
        ("sort=other", "sort"),
    ],
)
def test_a_query_is_read_strictly_where_it_is_wrong(client: FlaskClient, query: str, key: str) -> None:
    response = client.get(f"/api/odd/query?{query}")
    assert set(assert_problem(response, 400, "VALIDATION_ERROR")["errors"]) == {key}


def test_a_key_with_brackets_is_told_the_name_without(client: FlaskClient) -> None:
    """PHP and Rails write lists so, and libraries of theirs in JavaScript."""
    form = {"name": "train", "price": "5", "tags[]": ["a", "b"]}
    problem = assert_problem(client.post("/api/odd/form", data=form), 400, "VALIDATION_ERROR")
    assert problem["errors"] == {"tags[]": ["Unknown field: repeat tags instead."]}


def test_no_more_than_a_hundred_mistakes_are_told(client: FlaskClient, ann: dict[str, str]) -> None:
    body = TOY | {f"k{number:03}": 1 for number in reversed(range(300))}
    problem = assert_problem(client.post("/api/toys", json=body, headers=ann), 400, "VALIDATION_ERROR")
    assert list(problem["errors"]) == [f"k{number:03}" for number in range(100)]


def test_a_list_is_counted_before_its_items_are_looked_at() -> None:
    looked_at = []

    class Item(ma.fields.Raw):
        def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
            looked_at.append(value)
            return value

    field = List(Item(), high=2)
    assert field.deserialize([1, 2]) == [1, 2]
    with pytest.raises(ma.ValidationError, match="Longer than maximum length 2"):
        field.deserialize([3, 4, 5])
    assert looked_at == [1, 2]


def test_a_form_is_read_like_json_but_for_its_texts(client: FlaskClient) -> None:
    form = {"name": " train ", "price": "5", "painted": "true", "tags": ["a", "b"]}
    assert client.post("/api/odd/form", data=form).get_json()["data"] == {
        "name": "train",
        "price": 5,
        "painted": True,
        "tags": ["a", "b"],
    }


@pytest.mark.parametrize(
    "form", ["name=train&name=train&price=5", "name=train&price=5&other=1", "name=train&price=5.0"]
)
def test_a_form_is_as_strict_as_json(client: FlaskClient, form: str) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert_problem(client.post("/api/odd/form", data=form, headers=headers), 400, "VALIDATION_ERROR")


def test_nothing_to_say_is_204_without_a_body(client: FlaskClient, as_user: AsUser, ann: dict[str, str]) -> None:
    location = client.post("/api/toys", json=TOY, headers=ann).headers["Location"]
    response = client.delete(location, headers=as_user(role="moderator"))
    assert (response.status_code, response.data) == (204, b"")
    assert not {"Content-Type", "Content-Length"} & set(response.headers.keys())
    assert_problem(client.get(location), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/api/toys", "/healthz", "/api/toys/none"])
def test_head_answers_like_get_without_a_body(client: FlaskClient, path: str) -> None:
    get, head = client.get(path), client.head(path)
    assert head.status_code == get.status_code
    assert head.data == b""
    assert {name for name, _ in head.headers} == {name for name, _ in get.headers}
    assert head.headers["Content-Type"] == get.headers["Content-Type"]
    if get.status_code == 200:
        assert head.headers["Content-Length"] == str(len(get.data))


def test_answers_are_kept_by_nobody_and_those_for_somebody_are_private(
    client: FlaskClient, ann: dict[str, str]
) -> None:
    assert client.get("/api/toys").headers["Cache-Control"] == "no-store"
    assert client.get("/api/toys", headers=ann).headers["Cache-Control"] == "private, no-store"
    assert client.get("/api/toys/none", headers=ann).headers["Cache-Control"] == "private, no-store"
    assert client.get("/api/toys").headers["X-Content-Type-Options"] == "nosniff"


def test_the_openapi_document_has_the_envelopes_the_errors_and_who_may() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        app = Flask("documented")
        init_app(app, [resources.blp])
        document = describing(app, "Toys", [resources.blp])()
    post = document["paths"]["/api/toys"]["post"]
    assert post["security"] == [{"bearer": []}]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert {"ToyEnvelope", "ToyListEnvelope", "Pagination"} <= set(document["components"]["schemas"])
    created = document["components"]["schemas"]["Toy"]["properties"]["createdAt"]
    assert (created["type"], created["format"]) == ("string", "date-time")
    assert "application/problem+json" in document["components"]["responses"]["DEFAULT_ERROR"]["content"]
