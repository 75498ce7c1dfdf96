import unicodedata
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from services.posts.models import Post
from services.posts.slugs import MAX_LENGTH, candidates, slugify, spellings
from shared.ids import is_id, new_id
from tests.posts.conftest import Client, Headers, Write, at_once, body, refused


@pytest.mark.parametrize(
    "title, slug",
    [
        ("The quick brown fox", "the-quick-brown-fox"),
        ("  Don't — stop!  ", "dont-stop"),
        ("C++ & C#: 2 languages", "c-c-2-languages"),
        ("Größe ÄRGER", "grösse-ärger"),
        ("Привет, мир", "привет-мир"),
        ("Καλημέρα κόσμε", "καλημέρα-κόσμε"),
        ("مرحبا بالعالم", "مرحبا-بالعالم"),
        ("می\u200cخواهم", "میخواهم"),
        ("हिन्दी में", "हिन्दी-में"),
        ("羅針盤と川。森", "羅針盤と川-森"),
        ("Ｆｕｌｌ ｗｉｄｔｈ ①", "full-width-1"),
        ("🌊🏮", "post"),
        ("❄\ufe0f snow 👨\u200d👩\u200d👧", "snow"),
        ("İzmir'de SICAK ılık", "izmirde-sicak-ilik"),
        ("Hawai\u02bbi об\u02bcєднання", "hawaii-обєднання"),
        ("e\u200d\u0301tude", "étude"),
        ("../../etc/passwd", "etc-passwd"),
        ("<script>alert(1)</script>", "script-alert-1-script"),
        ("\u0301\u0301\u0301", "post"),
        ("word " * 40, ("word-" * 16).strip("-")),
        ("x" * 200, "x" * 80),
    ],
)
def test_a_slug_is_made_of_letters_of_any_script(title: str, slug: str) -> None:
    assert slugify(title) == slug
    assert spellings(slug) == [slug]


@pytest.mark.parametrize(
    "title", ["\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}" * 200, "e\u0301" * 100, "蝶" * 200]
)
def test_slugs_fit_their_column(title: str) -> None:
    assert all(len(slug) + len("~9223372036854775807") <= MAX_LENGTH for slug in candidates(title))


def test_a_title_that_looks_like_an_id_makes_no_slug_that_does() -> None:
    assert not any(is_id(slug) for slug in candidates(new_id()))


@pytest.mark.parametrize("title", ["Привет, мир", "羅針盤", "می\u200cخواهم", "🌊🏮⚓"])
def test_a_post_is_found_by_its_slug(client: Client, write: Write, title: str) -> None:
    post = write(title=title)
    assert client.get(f"/api/posts/{quote(post['slug'])}").json["data"]["id"] == post["id"]


@pytest.mark.parametrize(
    "title, spelling",
    [
        ("Élan vital", "e\u0301lan-vital"),
        ("Élan vital", "ÉLAN-VITAL"),
        ("İzmir", "İZMİR"),
        ("Kıvılcım", "KIVILCIM"),
        ("Kıvılcım", "kıvılcım"),
        ("Привет", "ПРИВЕТ"),
        ("한국어", unicodedata.normalize("NFD", "한국어" * 26)),
    ],
)
def test_a_slug_is_found_in_any_spelling(client: Client, write: Write, title: str, spelling: str) -> None:
    post = write(title=title * 26 if title == "한국어" else title)
    assert client.get(f"/api/posts/{quote(spelling)}").json["data"]["id"] == post["id"]


def test_a_slug_of_an_earlier_version_is_found_first_as_it_is_spelled(client: Client, write: Write) -> None:
    new, old, older = write(title="İzmir ılık"), write(title="Old"), write(title="Older")
    Post.update(slug="i\u0307zmir-ilik").where(Post.id == old["id"]).execute()
    Post.update(slug="izmir-ılık").where(Post.id == older["id"]).execute()
    assert client.get("/api/posts/izmir-ilik").json["data"]["id"] == new["id"]
    assert client.get(f"/api/posts/{quote('i̇zmir-ilik')}").json["data"]["id"] == old["id"]
    assert client.get(f"/api/posts/{quote('izmir-ılık')}").json["data"]["id"] == older["id"]


@pytest.mark.parametrize("key", ["x" * 121, "a%00b", "%E2%80%AE", "%F0%9F%98%80" * 500])
def test_what_can_be_no_slug_is_not_found(client: Client, key: str) -> None:
    refused(client.get(f"/api/posts/{key}"), 404, "NOT_FOUND")


def test_racing_posts_of_one_title_get_slugs_of_their_own(app: Flask, client: Client, ann: Headers) -> None:
    def post() -> Any:
        return app.test_client().post("/api/posts", json=body(title="One title", tags=["b", "a"]), headers=ann)

    answers = at_once(*[post] * 8)
    assert [answer.status_code for answer in answers] == [201] * 8
    slugs = {answer.json["data"]["slug"] for answer in answers}
    assert len(slugs) == 8
    assert "one-title" in slugs
    assert all(slug.startswith("one-title") for slug in slugs)
    assert client.get("/api/posts?tag=a").json["pagination"]["total"] == 8


def test_racing_new_titles_of_drafts_get_slugs_of_their_own(app: Flask, ann: Headers, write: Write) -> None:
    drafts = [write(status="draft", title=f"Draft {number}") for number in range(4)]

    def rename(post: dict[str, Any]) -> Any:
        return app.test_client().patch(f"/api/posts/{post['id']}", json={"title": "Same"}, headers=ann)

    answers = at_once(*(partial(rename, post) for post in drafts))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json["data"]["slug"] for answer in answers}) == 4


def test_a_slug_follows_the_title_until_it_is_published(client: Client, ann: Headers, write: Write) -> None:
    address = f"/api/posts/{write(status='draft', title='First')['id']}"

    def slug_after(**change: str) -> str:
        return str(client.patch(address, json=change, headers=ann).json["data"]["slug"])

    assert slug_after(title="Second") == "second"
    assert slug_after(content="Another content.") == "second"
    assert slug_after(title="Third", status="published") == "third"
    assert slug_after(title="Fourth") == "third"
    assert slug_after(title="Fifth", status="draft") == "third"


def test_a_deleted_post_frees_its_slug(client: Client, ann: Headers, write: Write) -> None:
    first = write(title="Taken")
    assert client.delete(f"/api/posts/{first['id']}", headers=ann).status_code == 204
    assert write(title="Taken")["slug"] == "taken"


def test_when_no_slug_is_free_it_is_a_conflict_and_nothing_is_written(
    client: Client, ann: Headers, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(title="Taken")
    monkeypatch.setattr("services.posts.slugs.candidates", lambda title: iter(["taken"]))
    refused(client.post("/api/posts", json=body(title="Taken"), headers=ann), 409, "CONFLICT")
    assert client.get("/api/posts").json["pagination"]["total"] == 1
