"""The one error shape, from whatever layer of a service refuses."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared import strict_json
from shared.problems import CODES, Problem, code_for, reason
from tests.helpers import assert_problem
from tests.shared.conftest import AsUser, in_threads
from tests.shared.toys import MAX_BODY
from tests.shared.toys.models import Toy, database

CORPUS = Path(__file__).parents[3] / "shared" / "corpora" / "json"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "kind, status, code",
    [
        ("unknown", 500, "INTERNAL_ERROR"),
        ("key", 500, "INTERNAL_ERROR"),
        ("programming", 500, "INTERNAL_ERROR"),
        ("integrity", 409, "CONFLICT"),
        ("missing", 404, "NOT_FOUND"),
        ("operational", 503, "SERVICE_UNAVAILABLE"),
        ("interface", 503, "SERVICE_UNAVAILABLE"),
        ("data", 400, "BAD_REQUEST"),
        ("validation", 400, "VALIDATION_ERROR"),
        ("400", 400, "BAD_REQUEST"),
        ("401", 401, "UNAUTHORIZED"),
        ("403", 403, "FORBIDDEN"),
        ("404", 404, "NOT_FOUND"),
        ("406", 406, "NOT_ACCEPTABLE"),
        ("408", 408, "REQUEST_TIMEOUT"),
        ("409", 409, "CONFLICT"),
        ("412", 412, "PRECONDITION_FAILED"),
        ("413", 413, "PAYLOAD_TOO_LARGE"),
        ("414", 414, "URI_TOO_LONG"),
        ("415", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("416", 416, "RANGE_NOT_SATISFIABLE"),
        ("417", 417, "EXPECTATION_FAILED"),
        ("428", 428, "PRECONDITION_REQUIRED"),
        ("429", 429, "RATE_LIMITED"),
        ("431", 431, "HEADERS_TOO_LARGE"),
        ("500", 500, "INTERNAL_ERROR"),
        ("501", 501, "NOT_IMPLEMENTED"),
        ("502", 502, "BAD_GATEWAY"),
        ("503", 503, "SERVICE_UNAVAILABLE"),
        ("504", 504, "GATEWAY_TIMEOUT"),
        ("505", 505, "HTTP_VERSION_NOT_SUPPORTED"),
    ],
)
def test_whatever_is_raised_has_the_one_shape(client: FlaskClient, kind: str, status: int, code: str) -> None:
    response = client.get(f"/api/odd/{kind}/fail")
    body = assert_problem(response, status, code)
    assert body["instance"] == f"/api/odd/{kind}/fail"
    assert "secret" not in response.text.replace("Is secret.", "")


def test_a_status_that_http_knows_and_the_contract_does_not_is_answered_generally(client: FlaskClient) -> None:
    assert_problem(client.get("/api/odd/418/fail"), 400, "BAD_REQUEST")


def test_every_code_has_a_reason_and_the_general_code_of_its_status_exists() -> None:
    for kind in CODES.values():
        assert reason(kind.status)
        assert CODES[code_for(kind.status)].status == kind.status
    assert (code_for(499), code_for(599)) == ("BAD_REQUEST", "INTERNAL_ERROR")


def test_waiting_time_is_rounded_up() -> None:
    _, headers, body = Problem("RATE_LIMITED", retryAfter=2.1).answer("/", "1", "")
    assert dict(headers)["Retry-After"] == "3"
    assert json.loads(body)["retryAfter"] == 2.1


@pytest.mark.parametrize("path", ["/", "/api/toy", "/api/toys/", "//api/toys", "/api//toys", "/api/toys/x/y", "/%00"])
def test_an_unknown_path_is_404_and_never_a_redirect(client: FlaskClient, path: str) -> None:
    assert_problem(client.get(path, base_url="http://x"), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_a_wrong_method_names_the_right_ones(client: FlaskClient, method: str) -> None:
    body = assert_problem(client.open("/api/toys", method=method), 405, "METHOD_NOT_ALLOWED")
    assert body["allowedMethods"] == ["GET", "HEAD", "OPTIONS", "POST"]


def test_options_names_the_methods(client: FlaskClient) -> None:
    response = client.options("/api/toys")
    assert response.status_code < 300
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_errors_name_the_fields_as_they_are_on_the_wire(client: FlaskClient) -> None:
    sent = {"name": "x", "painted": 1, "tags": ["ok", "much too long"], "ownerNote": 5, "owner_id": "x", "": 1}
    body = assert_problem(client.post("/api/odd/load", json=sent), 400, "VALIDATION_ERROR")
    assert set(body["errors"]) == {"name", "price", "painted", "tags.1", "ownerNote", "owner_id", ""}


@pytest.mark.parametrize("document", ["[]", "5", "null", '"text"', "true"])
def test_a_body_that_is_no_object_is_a_validation_error(client: FlaskClient, document: str) -> None:
    assert_problem(client.post("/api/odd/load", data=document, headers=JSON), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml", "application/jsonx", "text/json"])
def test_a_body_that_is_not_called_json_is_415(client: FlaskClient, content_type: str) -> None:
    response = client.post("/api/odd/load", data="{}", headers={"Content-Type": content_type})
    assert assert_problem(response, 415, "UNSUPPORTED_MEDIA_TYPE")["allowedTypes"] == ["application/json"]


def test_a_declared_body_beyond_the_limit_is_413(client: FlaskClient) -> None:
    response = client.post("/api/odd/load", data=b" " * (MAX_BODY + 1), headers=JSON)
    assert assert_problem(response, 413, "PAYLOAD_TOO_LARGE")["maxSize"] == MAX_BODY


def test_a_chunked_body_beyond_the_limit_is_413(client: FlaskClient) -> None:
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    body = b'"' + b" " * (MAX_BODY - 2) + b'"'
    assert client.post("/api/odd/echo", data=body, headers=JSON, environ_overrides=environ).status_code == 200
    for path in ("/api/odd/echo", "/api/odd/load"):
        response = client.post(path, data=body + b" ", headers=JSON, environ_overrides=environ)
        assert_problem(response, 413, "PAYLOAD_TOO_LARGE")


def test_a_body_that_is_shorter_than_declared_is_400(client: FlaskClient) -> None:
    environ = {"CONTENT_LENGTH": "100"}
    response = client.post("/api/odd/load", data=b"{}", headers=JSON, environ_overrides=environ)
    assert_problem(response, 400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b'{"name": "\xff"}',
        '{"name": "é"}'.encode("latin-1"),
        '{"name": "x"}'.encode("utf-16"),
        b'{"name": "\\ud800"}',
        b'{"price": NaN}',
        b'{"price": -Infinity}',
        b'{"price": 1e999}',
        b'{"price": 9223372036854775808}',
        b'{"price": -9223372036854775809}',
        b'{"price": ' + b"9" * 4000 + b"}",
        b"{'name': 'x'}",
        b'{"name": "x",}',
        b"[" * 33 + b"]" * 33,
        b"[" * 33 + b"1" + b"]" * 33,
        b'{"a":' * 33 + b"1" + b"}" * 33,
        b"[" * 2000 + b"]" * 2000,
        b"[" * 4000,
    ],
)
def test_what_is_not_safe_json_is_400(client: FlaskClient, document: bytes) -> None:
    assert_problem(client.post("/api/odd/load", data=document, headers=JSON), 400, "INVALID_JSON")
    assert_problem(client.post("/api/odd/echo", data=document, headers=JSON), 400, "INVALID_JSON")


@pytest.mark.parametrize("document", [b"[" * 32 + b"]" * 32, b"[" * 32 + b"1" + b"]" * 32, b"9223372036854775807"])
def test_json_at_the_limits_is_taken(document: bytes) -> None:
    assert strict_json.loads(document) is not None


def test_many_brackets_beside_each_other_are_not_deep() -> None:
    assert len(strict_json.loads(b"[" + b"[]," * 100 + b"{}]")) == 101


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not here")
@pytest.mark.parametrize("kind", ["n", "y", "i"])
def test_the_corpus_of_json_documents_is_read_as_it_says(client: FlaskClient, kind: str) -> None:
    files = sorted(CORPUS.glob(f"{kind}_*.json"))
    assert files
    allowed = {"n": {400}, "y": {200}, "i": {200, 400}}[kind]
    for file in files:
        data = file.read_bytes()
        statuses = {client.post("/api/odd/echo", data=data[:MAX_BODY], headers=JSON).status_code}
        statuses.add(client.post("/api/odd/echo", data=data, headers=JSON).status_code)
        assert statuses <= allowed | ({413} if len(data) > MAX_BODY else set()), file.name


@pytest.fixture
def full_disk(app: Flask) -> Iterator[None]:
    """Allow the database no more pages than it has."""
    database.execute_sql("PRAGMA max_page_count = 1")
    yield
    database.close()


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_507(client: FlaskClient, ann: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    sent = {"name": "x" * 200, "price": 1}
    answers = [client.post("/api/toys", json=sent | {"name": f"{n:0200}"}, headers=ann) for n in range(30)]
    assert_problem(answers[-1], 507, "STORAGE_FULL")
    assert caplog.records[-1].getMessage() == "the disk is full: database or disk is full"
    assert not caplog.records[-1].exc_info


def test_the_first_cause_of_an_outage_is_logged(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    """On a full disk SQLite has ended the transaction when peewee rolls it back."""

    def show(toy_id: str) -> str:
        try:
            database.execute_sql("PRAGMA max_page_count = 1")
            database.execute_sql("CREATE TABLE more (x)")
        except peewee.OperationalError:
            database.execute_sql("ROLLBACK")
        return "never"

    app.view_functions["toys.show"] = show
    assert_problem(client.get("/api/toys/x"), 507, "STORAGE_FULL")
    assert caplog.records[-1].getMessage() == "the disk is full: database or disk is full"
    database.close()


def test_a_query_that_is_wrong_is_our_fault_and_not_worth_a_retry(
    app: Flask, client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    app.view_functions["toys.show"] = lambda toy_id: database.execute_sql("SELECT secret FROM nowhere")
    assert_problem(client.get("/api/toys/x"), 500, "INTERNAL_ERROR")
    assert caplog.records[-1].exc_info


def test_a_database_that_stays_locked_is_503(app: Flask, ann: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    def create(_index: int) -> object:
        database.execute_sql("PRAGMA busy_timeout = 50")
        return app.test_client().post("/api/toys", json={"name": "train", "price": 1}, headers=ann)

    with database.atomic():
        (answer,) = in_threads(1, create)
    assert_problem(answer, 503, "SERVICE_UNAVAILABLE")
    assert caplog.records[-1].getMessage() == "the database is not available: database is locked"
    assert not caplog.records[-1].exc_info
    assert Toy.select().count() == 0


def test_racing_writers_of_one_unique_name_get_one_201_and_409s(any_app: Flask, as_user: AsUser) -> None:
    def create(_index: int) -> object:
        return any_app.test_client().post("/api/toys", json={"name": "train", "price": 1}, headers=as_user())

    answers = in_threads(6, create)
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201] + [409] * 5
    assert_problem(next(answer for answer in answers if answer.status_code == 409), 409, "CONFLICT")


def test_what_postgres_cannot_store_is_no_500(any_client: FlaskClient) -> None:
    assert any_client.get("/api/toys/a%00b").status_code in (400, 404)


def test_the_cause_of_a_database_error_is_known() -> None:
    """The mapping of a full disk looks at it."""
    with pytest.raises(peewee.OperationalError) as caught:
        peewee.SqliteDatabase(":memory:").execute_sql("SELECT nothing")
    assert vars(caught.value)["orig"].sqlite_errorcode == sqlite3.SQLITE_ERROR
