"""Lists by page and by cursor."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playhouse.test_utils import count_queries

from shared.clock import now
from shared.database import pagination
from shared.database.pagination import MAX_CURSOR, Order
from shared.ids import new_id
from tests.helpers import assert_problem
from tests.shared.test_outbox import explain
from tests.shared.toys.models import BY_NAME, NEWEST, Toy, database

Ask = Callable[..., Any]
START = now()


def fill(number: int, **columns: Any) -> None:
    with database.atomic():
        for index in range(number):
            row = {"name": f"toy {index:05}", "price": index // 3, "created_at": START + timedelta(seconds=index // 2)}
            Toy.create(**(row | columns), owner_id=new_id())


@pytest.fixture
def toys(any_app: Flask) -> None:
    fill(45)


@pytest.fixture
def ask(any_client: FlaskClient) -> Ask:
    def ask(query: str = "") -> Any:
        response = any_client.get(f"/api/toys?{query}")
        assert response.status_code == 200, response.text
        return response.json

    return ask


def names(body: Any) -> list[str]:
    return [toy["name"] for toy in body["data"]]


def links(response: Any) -> dict[str, str]:
    found = {}
    for link in response.headers["Link"].split(", "):
        address, relation = link.split("; ")
        found[relation.removeprefix('rel="').rstrip('"')] = address.strip("<>")
    return found


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    "query, place, number",
    [
        ("", {"page": 1, "limit": 20, "hasMore": True}, 20),
        ("page=3", {"page": 3, "limit": 20, "hasMore": False, "nextCursor": None}, 5),
        ("page=4", {"page": 4, "limit": 20, "hasMore": False, "nextCursor": None}, 0),
        ("page=1000000000&limit=100", {"page": 10**9, "limit": 100, "totalPages": 1, "hasMore": False}, 0),
        ("limit=45", {"page": 1, "limit": 45, "totalPages": 1, "hasMore": False}, 45),
        ("limit=44", {"page": 1, "limit": 44, "totalPages": 2, "hasMore": True}, 44),
        ("limit=1", {"page": 1, "limit": 1, "totalPages": 45, "hasMore": True}, 1),
    ],
)
def test_a_page_says_where_it_is(ask: Ask, query: str, place: dict[str, Any], number: int) -> None:
    body = ask(query)
    assert len(body["data"]) == number
    pages = {"total": 45, "totalIsExact": True, "totalPages": 3} | place
    assert {name: body["pagination"][name] for name in pages} == pages
    assert (body["pagination"]["nextCursor"] is not None) == place["hasMore"]


def test_an_empty_list_is_no_error(ask: Ask) -> None:
    expected = {"page": 1, "limit": 20, "total": 0, "totalPages": 0, "totalIsExact": True, "hasMore": False}
    assert ask() == {"success": True, "data": [], "pagination": expected | {"nextCursor": None}}


@pytest.mark.parametrize(
    "query, key",
    [
        *[(f"page={value}", "page") for value in ("0", "-1", "1.5", "x", "1_0", "%D9%A1", "1e3", "+1", "1000000001")],
        *[(f"page={'9' * digits}", "page") for digits in (19, 20, 400)],
        *[(f"limit={value}", "limit") for value in ("0", "101", "-1", "ten", "%201", "99999999999999999999")],
        ("page=1&cursor=x", "cursor"),
        *[(f"cursor={value}", "cursor") for value in ("x", "!!!!", "%00", "é", "AAAA", "A" * 100, "a" * 3000)],
    ],
)
def test_what_is_no_place_in_a_list_is_400(client: FlaskClient, query: str, key: str) -> None:
    assert set(assert_problem(client.get(f"/api/toys?{query}"), 400, "VALIDATION_ERROR")["errors"]) == {key}


def cursors(client: FlaskClient) -> tuple[str, str]:
    fill(3)
    found = [
        client.get(f"/api/toys?limit=1&sort={sort}").get_json()["pagination"]["nextCursor"]
        for sort in ("newest", "name")
    ]
    return found[0], found[1]


def test_every_alteration_of_a_cursor_is_400(client: FlaskClient) -> None:
    cursor, _ = cursors(client)
    altered = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))]
    altered += [cursor[:-1], cursor + "A", cursor + "=", cursor[:5] + "!" + cursor[5:], cursor[::-1], cursor.lower()]
    for text in altered:
        assert_problem(client.get(f"/api/toys?cursor={quote(text)}"), 400, "VALIDATION_ERROR")
    assert client.get(f"/api/toys?cursor={cursor}").status_code == 200


def test_a_cursor_of_another_order_is_400(client: FlaskClient) -> None:
    newest, by_name = cursors(client)
    assert client.get(f"/api/toys?sort=name&cursor={by_name}").status_code == 200
    for query in (f"cursor={by_name}", f"sort=name&cursor={newest}", f"sort=price&cursor={newest}"):
        assert_problem(client.get(f"/api/toys?{query}"), 400, "VALIDATION_ERROR")


def test_a_cursor_of_an_order_with_the_same_name_and_other_columns_is_400(app: Flask) -> None:
    fill(1)
    with app.test_request_context():
        cursor = Order("newest", (Toy.id,)).cursor(Toy.get())
        with pytest.raises(Exception, match="VALIDATION_ERROR"):
            NEWEST.values(cursor)


def test_a_cursor_of_another_installation_is_400(app: Flask, client: FlaskClient) -> None:
    cursor, _ = cursors(client)
    app.config["INTERNAL_TOKEN"] = "another" * 8
    assert_problem(client.get(f"/api/toys?cursor={cursor}"), 400, "VALIDATION_ERROR")


def test_a_cursor_tells_a_row_that_is_a_dict_alike(app: Flask) -> None:
    fill(1)
    with app.test_request_context():
        assert NEWEST.cursor(Toy.select().dicts().get()) == NEWEST.cursor(Toy.get())


@pytest.mark.parametrize("char", ["日", "𝕿", '"', "\u2028"])
def test_a_cursor_of_the_longest_name_is_taken(ask: Ask, char: str) -> None:
    fill(1, name=char * 199 + "1")
    fill(1, name=char * 199 + "2")
    cursor = ask("sort=name&limit=1")["pagination"]["nextCursor"]
    assert len(cursor) < MAX_CURSOR
    assert names(ask(f"sort=name&limit=1&cursor={cursor}")) == [char * 199 + "2"]


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("sort", ["newest", "name", "price"])
@pytest.mark.parametrize("limit", [1, 7, 45])
def test_a_walk_by_cursor_meets_every_row_once(ask: Ask, sort: str, limit: int) -> None:
    by_page = names(ask(f"sort={sort}&limit=100"))
    body = ask(f"sort={sort}&limit={limit}")
    walked = names(body)
    while cursor := body["pagination"]["nextCursor"]:
        body = ask(f"sort={sort}&limit={limit}&cursor={cursor}")
        assert body["pagination"]["page"] is None
        assert body["pagination"]["total"] == 45
        walked += names(body)
    assert walked == by_page
    assert len(set(walked)) == 45


@pytest.mark.usefixtures("toys")
def test_a_walk_is_not_disturbed_by_new_and_deleted_rows(ask: Ask) -> None:
    body = ask("limit=10")
    before = names(ask("limit=100"))
    walked = names(body)
    for number in range(4):
        fill(1, name=f"new {number}", created_at=START + timedelta(days=1))
        Toy.delete().where(Toy.name == walked[-1]).execute()
        body = ask(f"limit=10&cursor={body['pagination']['nextCursor']}")
        walked += names(body)
    assert walked == before


def test_orders_go_up_or_down_with_ties_broken(ask: Ask) -> None:
    fill(6)
    prices = [toy["price"] for toy in ask("sort=price")["data"]]
    moments = [toy["createdAt"] for toy in ask()["data"]]
    assert prices == sorted(prices)
    assert moments == sorted(moments, reverse=True)


@pytest.mark.usefixtures("toys")
def test_links_lead_through_the_pages(any_client: FlaskClient) -> None:
    def relations(query: str) -> dict[str, Any]:
        found = links(any_client.get(f"/api/toys?{query}"))
        return {name: parse_qs(urlsplit(address).query).get("page", [None])[0] for name, address in found.items()}

    assert relations("") == {"first": "1", "next": "2", "last": "3"}
    assert relations("page=2") == {"first": "1", "prev": "1", "next": "3", "last": "3"}
    assert relations("page=3") == {"first": "1", "prev": "2", "last": "3"}
    assert relations("page=99") == {"first": "1", "prev": "3", "last": "3"}


@pytest.mark.usefixtures("toys")
def test_links_keep_the_filters_and_lead_through_the_cursors(any_client: FlaskClient) -> None:
    first = any_client.get("/api/toys?limit=40&tag=a&tag=b%26%3E&painted=false")
    found = links(first)
    assert parse_qs(urlsplit(found["next"]).query) == {
        "limit": ["40"], "tag": ["a", "b&>"], "painted": ["false"], "page": ["2"],
    }  # fmt: skip
    cursor = first.get_json()["pagination"]["nextCursor"]
    second = any_client.get(f"/api/toys?limit=2&cursor={cursor}")
    assert set(links(second)) == {"first", "next"}
    assert "cursor" not in links(second)["first"]
    rest = any_client.get(links(second)["next"])
    assert set(links(rest)) == {"first", "next"}
    assert any_client.get(links(rest)["next"]).get_json()["data"] != []


def test_a_link_holds_any_path(app: Flask) -> None:
    with app.test_request_context("/api/toys/%E6%97%A5%3E%0Ax"):
        pagination.set_place({"limit": 20}, 1, True, None)
        response = app.process_response(app.make_response("list"))
    assert "</api/toys/%E6%97%A5%3E%0Ax?page=1>" in response.headers["Link"]


@pytest.mark.usefixtures("toys")
def test_the_matches_of_a_filter_are_counted_up_to_the_cap(
    any_client: FlaskClient, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for cap, total, exact in ((46, 45, True), (45, 45, True), (44, 44, False), (10, 10, False)):
        monkeypatch.setattr(pagination, "COUNT_CAP", cap)
        place = ask("painted=false&limit=20")["pagination"]
        assert (place["total"], place["totalIsExact"], place["hasMore"]) == (total, exact, True)
    assert ask("limit=20")["pagination"]["total"] == 45
    assert set(links(any_client.get("/api/toys?painted=false&page=2"))) == {"first", "prev", "next"}


@pytest.mark.usefixtures("any_app")
def test_a_page_by_cursor_is_found_in_the_index_and_takes_two_queries(any_client: FlaskClient) -> None:
    fill(2000)
    database.execute_sql("ANALYZE")
    cursor = any_client.get("/api/toys?limit=10&page=100").get_json()["pagination"]["nextCursor"]
    with count_queries(only_select=True) as counter:
        any_client.get(f"/api/toys?limit=10&cursor={cursor}")
    _count, rows = counter.get_queries()
    plan = explain(rows.msg)
    assert "index" in plan.lower()
    assert not [word for word in ("Seq Scan", "SCAN", "Sort", "TEMP B-TREE") if word in plan]


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize("query", ["page=4", "page=1000000000&limit=100", "painted=true&page=2"])
def test_behind_the_last_row_none_is_looked_for(ask: Ask, query: str) -> None:
    with count_queries(only_select=True) as counter:
        assert ask(query)["data"] == []
    assert counter.count == 1


def test_a_cursor_is_opaque(app: Flask) -> None:
    fill(1)
    with app.test_request_context():
        cursor = BY_NAME.cursor(Toy.get())
        assert BY_NAME.values(cursor) == ["toy 00000"]
    assert base64.urlsafe_b64encode(base64.urlsafe_b64decode(cursor + "==")).decode().rstrip("=") == cursor
