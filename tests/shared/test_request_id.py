"""Request ids and the log: one line a request, and never a secret."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from shared.ids import new_id
from shared.telemetry import json_log as kit_logging
from shared.telemetry.request_id import with_request_id
from tests.shared.conftest import AsUser

Lines = Callable[[], list[dict[str, Any]]]


class Finishing(FlaskClient):
    """A client that reads every answer to its end, which is when the server would close it."""

    def open(self, *args: Any, buffered: bool = True, **kwargs: Any) -> Any:
        return super().open(*args, buffered=buffered, **kwargs)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return Finishing(app)


@pytest.fixture
def lines(app: Flask, capsys: pytest.CaptureFixture[str]) -> Lines:
    """Return what was logged since it was last asked."""
    kit_logging.configure("toys", "debug")
    capsys.readouterr()
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.fixture(autouse=True)
def restored_root() -> Iterator[None]:
    yield
    logging.getLogger().handlers = [logging.NullHandler()]


@pytest.mark.parametrize("given", ["a", "A-z_0.9", "x" * 128])
def test_takes_a_well_formed_id(client: FlaskClient, given: str) -> None:
    response = client.get("/healthz", headers={"X-Request-ID": given})
    assert response.headers.getlist("X-Request-ID") == [given]


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a,b", "ä", "a/b", "a\tb", '"a"', "{}"])
def test_makes_one_where_there_is_none_or_a_bad_one(client: FlaskClient, given: str) -> None:
    first, second = (client.get("/healthz", headers={"X-Request-ID": given}).headers["X-Request-ID"] for _ in "ab")
    assert given not in (first, second)
    assert first != second
    assert len(first) >= 16


def test_the_answer_has_one_id_whatever_the_application_says() -> None:
    def application(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        start("200 OK", [("x-request-id", "of somebody else"), ("A", "b")])
        return []

    answered: list[Any] = []
    list(with_request_id(application)({"HTTP_X_REQUEST_ID": "mine"}, lambda *args: answered.extend(args)))
    assert answered[1] == [("A", "b"), ("X-Request-ID", "mine")]


def test_writes_one_line_for_a_request(client: FlaskClient, lines: Lines, as_user: AsUser) -> None:
    user_id = new_id()
    response = client.get("/api/odd/who", headers=as_user(user_id) | {"X-Request-ID": "one"})
    assert response.get_json()["data"] == user_id
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert 0 < line.pop("ms") < 5000
    assert line == {
        "level": "info",
        "service": "toys",
        "message": "request",
        "method": "GET",
        "path": "/api/odd/who",
        "route": "/api/odd/who",
        "status": 200,
        "user": user_id,
        "requestId": "one",
    }


@pytest.mark.parametrize(
    "method, path, route, status",
    [
        ("GET", "/api/toys/none", "/api/toys/<toy_id>", 404),
        ("PUT", "/api/toys", None, 405),
        ("GET", "/nowhere", None, 404),
        ("POST", "/api/toys", "/api/toys", 401),
    ],
)
def test_the_line_of_a_refusal_has_its_route_and_status(
    client: FlaskClient, lines: Lines, method: str, path: str, route: str | None, status: int
) -> None:
    client.open(path, method=method)
    (line,) = lines()
    assert (line["method"], line["path"], line["route"], line["status"]) == (method, path, route, status)
    assert line["user"] is None


def test_a_view_that_raises_is_logged_with_its_cause_and_its_request(client: FlaskClient, lines: Lines) -> None:
    client.get("/api/odd/unknown/fail")
    cause, request = lines()
    assert (cause["level"], request["status"]) == ("error", 500)
    assert "RuntimeError: secret /etc/passwd" in cause["exception"]


def test_an_application_that_raises_past_flask_is_logged_as_500(lines: Lines) -> None:
    def application(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        with_request_id(application)({"PATH_INFO": "/"}, lambda *args: None)
    (line,) = lines()
    assert line["status"] == 500


def test_never_logs_a_secret(client: FlaskClient, lines: Lines, ann: dict[str, str], make_token: Any) -> None:
    headers = ann | {"Cookie": f"authToken={make_token(ann['Authorization'][:36])}; other=c00kie", "X-Other": "h3ader"}
    client.get("/api/toys?cursor=qu3ry", headers=headers)
    client.post("/api/odd/form?q=qu3ry", data={"name": "b0dy"}, headers=headers)
    client.post("/api/toys", json={"name": "b0dy", "price": 1}, headers=ann)
    client.post("/api/toys", data=b'{"name": "b0dy"', headers=ann)
    text = json.dumps(lines())
    assert text.count('"message": "request"') == 4
    for secret in ("qu3ry", "c00kie", "h3ader", "b0dy", ann["Authorization"].split()[1][-40:]):
        assert secret not in text


def test_a_streamed_answer_is_logged_at_its_end(client: FlaskClient, lines: Lines) -> None:
    response = client.get("/api/odd/stream", buffered=False)
    stream = response.iter_encoded()
    assert next(iter(stream)) == b"x" * 1000
    assert lines() == []
    response.close()
    assert [line["status"] for line in lines()] == [200]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/internal/feed"])
def test_what_is_asked_all_the_time_is_logged_at_debug(
    app: Flask, client: FlaskClient, lines: Lines, path: str
) -> None:
    headers = {"Authorization": f"Bearer {app.config['INTERNAL_TOKEN']}"}
    client.get(path, headers=headers)
    assert [line["level"] for line in lines()] == ["debug"]
    kit_logging.configure("toys", "info")
    client.get(path, headers=headers)
    assert lines() == []


def test_a_refused_reader_of_the_feed_is_logged_at_info(client: FlaskClient, lines: Lines) -> None:
    client.get("/internal/feed")
    assert [(line["level"], line["status"]) for line in lines()] == [("info", 404)]


def test_a_path_in_any_bytes_is_one_line(client: FlaskClient, lines: Lines) -> None:
    client.get("/%ff%0a%7b%22level%22%3a1%7d%e6%97%a5")
    (line,) = lines()
    assert line["path"] == '/\ufffd\n{"level":1}日'


@pytest.mark.parametrize("message", ["lone \ud800 surrogate", "line\nbreak"])
def test_any_text_can_be_logged(lines: Lines, message: str) -> None:
    kit_logging.configure("toys", "debug")  # once more, so that pytest keeps no copy, which not every reporter can take
    logging.getLogger("postern.test").warning(message, extra={"fields": {"huge": 2**70}})
    (line,) = lines()
    assert line["message"] == message


def test_libraries_do_not_tell_queries_with_their_values_at_debug(lines: Lines) -> None:
    logging.getLogger("peewee").debug("INSERT … %s", "password hash")
    logging.getLogger("urllib3").debug("GET /?ticket=secret")
    logging.getLogger("postern.test").debug("our own")
    assert [line["message"] for line in lines()] == ["our own"]


def test_an_exception_is_one_line(lines: Lines) -> None:
    try:
        raise ValueError("deep\ninside")
    except ValueError:
        logging.getLogger("postern.test").exception("failed")
    (line,) = lines()
    assert "ValueError: deep\ninside" in line["exception"]
