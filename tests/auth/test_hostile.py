from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import pytest

from services.auth.models import Fact, User
from tests.auth.conftest import PASSWORD, Client, Register, bearer
from tests.helpers import assert_problem

CORPUS = Path(__file__).parents[3] / "shared/corpora/json"
JSON = {"Content-Type": "application/json"}
URLS = ("/api/auth/register", "/api/auth/login", "/api/auth/refresh", "/api/auth/me")

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def send(client: Client, url: str, document: bytes, headers: dict[str, str]) -> Any:
    return client.open(url, method="PATCH" if url.endswith("/me") else "POST", data=document, headers=headers)


@pytest.fixture
def headers(register: Register) -> dict[str, str]:
    return bearer(register()) | JSON


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    "document",
    [
        b"{",
        b'{"name": NaN}',
        b'{"name": 123456789012345678901234567890}',
        b'{"name": ' + b"[" * 100_000,
        b'{"name": ' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        b"\xef\xbb\xbf\xef\xbb\xbf{}",  # the second of them is no part of JSON
        b"{} {}",
    ],
)
def test_what_is_no_json_is_refused(client: Client, headers: dict[str, str], url: str, document: bytes) -> None:
    assert_problem(send(client, url, document, headers), 400, "INVALID_JSON")


@pytest.mark.parametrize("url", [url for url in URLS if "refresh" not in url])  # which may do without a body
def test_nothing_at_all_is_no_json(client: Client, headers: dict[str, str], url: str) -> None:
    assert_problem(send(client, url, b"", headers), 400, "INVALID_JSON")


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("document", [b"null", b"[]", b'"text"', b"7", b"true", b'{"more": 1}'])
def test_json_of_another_shape_is_refused(client: Client, headers: dict[str, str], url: str, document: bytes) -> None:
    nothing = document == b"null" and "refresh" in url  # which may do without a body
    status, code = (401, "UNAUTHORIZED") if nothing else (400, "VALIDATION_ERROR")
    assert_problem(send(client, url, document, headers), status, code)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("content_type", ["", "text/plain", "application/xml"])
def test_other_media_types_are_refused(client: Client, headers: dict[str, str], url: str, content_type: str) -> None:
    answer = send(client, url, b"{}", headers | {"Content-Type": content_type})
    assert_problem(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "url, field",
    [
        ("/api/auth/register", "name"),
        ("/api/auth/login", "email"),
        ("/api/auth/login", "rememberMe"),
        ("/api/auth/refresh", "refreshToken"),
        ("/api/auth/me", "bio"),
    ],
)
@pytest.mark.parametrize("value", [7, 1.5, [], {}, ["a"], {"a": "b"}, "a\0b"])
def test_a_value_of_another_type_is_named(
    client: Client, headers: dict[str, str], url: str, field: str, value: Any
) -> None:
    answer = client.open(url, method="PATCH" if url.endswith("/me") else "POST", json={field: value}, headers=headers)
    assert field in assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]


@pytest.mark.parametrize("value", ["true", "yes", "on", 1, 0, None])
def test_what_looks_like_a_boolean_is_none(client: Client, headers: dict[str, str], value: Any) -> None:
    body = {"email": "ann@example.org", "password": PASSWORD, "rememberMe": value}
    answer = client.post("/api/auth/login", json=body, headers=headers)
    assert list(assert_problem(answer, 400, "VALIDATION_ERROR")["errors"]) == ["rememberMe"]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not here")
@pytest.mark.parametrize("url", URLS)
def test_no_document_of_the_corpus_is_more_than_a_bad_request(
    client: Client, headers: dict[str, str], url: str
) -> None:
    facts = Fact.select().count()
    for file in sorted(CORPUS.glob("*.json")):
        answer = send(client, url, file.read_bytes(), headers)
        expected = {"INVALID_JSON"} if file.name.startswith("n_") else {"INVALID_JSON", "VALIDATION_ERROR"}
        if url.endswith("/refresh"):  # which may name no token, where there is a cookie
            expected.add("UNAUTHORIZED")
        assert answer.status_code == 200 if _is_empty_object(file, url) else answer.json["code"] in expected, file.name
    assert (User.select().count(), Fact.select().count()) == (1, facts)


def _is_empty_object(file: Path, url: str) -> bool:
    """Tell whether the document is one that changes nothing."""
    content = file.read_bytes().removeprefix(BOM_UTF8)
    return url.endswith("/me") and not file.name.startswith("n_") and b"".join(content.split()) == b"{}"
