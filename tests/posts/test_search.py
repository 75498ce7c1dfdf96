from typing import Any

import pytest
from playhouse.test_utils import assert_query_count

from services.posts.config import Config
from services.posts.demo_data import seed
from services.posts.search import index
from shared.ids import new_id
from tests.conftest import on_sqlite
from tests.posts.conftest import AsUser, Client, Headers, Write, refused

URL = "/api/posts"


def ask(client: Client, q: str, **query: Any) -> Any:
    answer = client.get(URL, query_string={"q": q, **query})
    assert answer.status_code == 200, answer.text
    return answer.json


def titles(client: Client, q: str, **query: Any) -> list[str]:
    return [post["title"] for post in ask(client, q, **query)["data"]]


@pytest.mark.parametrize(
    "q, found",
    [
        ("lantern", True),
        ("LANTERN river", True),
        ("river lan", True),
        ("lan river", False),
        ("antern", False),
        ("ecole", True),
        ("École", True),
        ("strasse", True),
        ("ﬁne", True),
        ("日本", True),
        ("本語", True),
        ("語", True),
        ("京", True),
        ("語日", False),
        ("ไทย", True),
        ("Round", True),
        ("हिन्दी", True),
        ("हन्द", False),
        ("lantern elephant", False),
        ("?!", False),
    ],
)
def test_every_word_must_be_there(client: Client, write: Write, q: str, found: bool) -> None:
    content = "The lanterns of the école, Straße, fine. 日本語と東京 ภาษาไทย हिन्दी, lantern."
    write(title="By the river", content=content, tags=["round one"])
    assert titles(client, q) == (["By the river"] if found else [])


@pytest.mark.parametrize(
    "text, question",
    [
        ("C++17 is here", "C++"),
        ("In C#.", "c#"),
        ("An A+ grade", "A+"),
        ("An A+ grade", "a grade"),
        ("комп\u02bcютер", "комп\u2019ютер"),
        ("комп'ютер", "комп\u02bcютер"),
        ("Hawai\u02bbi", "Hawaii"),
        ("Hawai'i", "hawai\u02bbi"),
        ("l\u2019amour", "amour"),
        ("l\u2019amour", "L'Amour"),
        ("کتاب های", "كتاب هاي"),
        ("مدرسة", "مدرسه"),
        ("سال ۱۴۰۳", "1403"),
        ("سال 1403", "١٤٠٣"),
        ("ٱلكتاب", "الكتاب"),
        ("O\u00b4Neill", "oneill"),
        ("o'neill", "O\u00b4Neill"),
        ("ג\u05f3ירפה", "ג'ירפה"),
        ("Հայ\u055aեր", "Հայ\u2019եր"),
        ("Shine ⭐", "⭐"),
        ("Wake up ⏰⭐", "⏰"),
        ("All rights ©️ ®", "©"),
        ("All rights © ®️", "®"),
        ("Waves 〰️ parts 〽️", "〰️ 〽"),
        ("Squares ▪️▫️", "▪"),
        ("ดื่มน้ำเย็น", "น้ำ"),
    ],
)
def test_what_is_typed_in_another_way_is_found_and_marked(
    client: Client, write: Write, text: str, question: str
) -> None:
    write(title="Other", content="Of C, a b, kept elsewhere.")
    write(title=text, content=f"Before {text} after.")
    (found,) = ask(client, question, highlight="true")["data"]
    assert found["title"] == text
    assert "<mark>" in found["highlight"]["title"]
    assert "<mark>" in found["highlight"]["content"]


@pytest.mark.parametrize("question", ["C++", "c# ", "A+", "b+"])
def test_signs_at_a_word_are_asked_for(client: Client, write: Write, question: str) -> None:
    write(title="C a b", content="c, a and b; a+b, c#d")
    assert titles(client, question) == []


@pytest.mark.parametrize(
    "q",
    [
        '"', "'", "*", "lantern*", '"lantern', "lantern'", "lantern AND", "lantern OR", "NOT lantern", "NEAR(lantern)",
        "lantern:*", "title:lantern", "lantern & | !", "(lantern", "lantern)", "^lantern", "-lantern", "lantern\\",
        "@", "w@xlantern", "%", "%s", "lantern;--", "{lantern}", "\u2028", "💡", "👩\u200d👩\u200d👧",
        "a" * 200, " ".join("abcdefgh" * 12),
        "\u0300", "ﷺ" * 200, "日" * 200, "\u0e31",
    ],
)  # fmt: skip
def test_hostile_syntax_is_just_text(client: Client, write: Write, q: str) -> None:
    write(title="The lantern")
    found = titles(client, q)
    assert found == (["The lantern"] if q.strip("\"'*:&|!()^-\\;{} ").casefold() == "lantern" else [])


@pytest.mark.parametrize("q", ["a\u0000", "\x07", "a" * 201])
def test_what_is_no_question_is_refused(client: Client, q: str) -> None:
    refused(client.get(URL, query_string={"q": q}), 400, "VALIDATION_ERROR", "q")


@on_sqlite
@pytest.mark.parametrize(
    "query, field",
    [
        ("?sort=relevance", "sort"),
        ("?highlight=true", "highlight"),
        ("?q=a&sort=best", "sort"),
        ("?q=a&highlight=on", "highlight"),
        ("?q=a&status=draft", "q"),
        ("?q=a&cursor=x", "cursor"),
    ],
)
def test_bad_queries_are_refused(client: Client, query: str, field: str) -> None:
    refused(client.get(URL + query), 400, "VALIDATION_ERROR", field)


def test_title_weighs_more_than_tags_more_than_content(client: Client, write: Write) -> None:
    write(title="A lantern", content="Nothing else here")
    write(title="Tagged", content="Nothing else here", tags=["lantern"])
    write(title="Content", content="Only here a lantern")
    write(title="Content again", content="A lantern lantern lantern")
    assert titles(client, "lantern") == ["A lantern", "Tagged", "Content again", "Content"]
    assert titles(client, "lantern", sort="newest") == ["Content again", "Content", "Tagged", "A lantern"]
    assert titles(client, "else lantern") == ["A lantern", "Tagged"]


def test_only_what_everybody_may_see_is_found(client: Client, ann: Headers, write: Write) -> None:
    post = write(title="Secret lantern", status="draft")
    address = f"{URL}/{post['id']}"
    assert titles(client, "secret") == []
    steps = [
        ({"status": "published"}, "secret", 1),
        ({"title": "Public lantern"}, "secret", 0),
        ({"content": "Now about elephants"}, "elephants public", 1),
        ({"tags": ["Zebra"]}, "zebra", 1),
        ({"tags": []}, "zebra", 0),
        ({"status": "archived"}, "public", 0),
        ({"title": "Archived lantern"}, "archived", 0),
        ({"status": "published"}, "archived", 1),
    ]
    for change, q, count in steps:
        assert client.patch(address, json=change, headers=ann).status_code == 200
        answer = ask(client, q)
        assert (len(answer["data"]), answer["pagination"]["total"]) == (count, count), change
    client.delete(address, headers=ann)
    assert ask(client, "archived")["pagination"]["total"] == 0


def test_filters_narrow_a_search(client: Client, as_user: AsUser, ann: Headers, bob: Headers, write: Write) -> None:
    post = write(title="Lantern of Ann", tags=["Red", "Round"])
    write(bob, title="Lantern of Bob", tags=["red"])
    author = post["author"]["id"]
    assert titles(client, "lantern", author=author) == titles(client, "lan", author="ANN") == ["Lantern of Ann"]
    assert titles(client, "lantern", tag=["red", "ROUND"]) == ["Lantern of Ann"]
    assert titles(client, "lantern", tag="red") == ["Lantern of Bob", "Lantern of Ann"]
    assert titles(client, "lantern", tag="red", author="b") == ["Lantern of Bob"]
    assert titles(client, "lantern", tag="blue") == titles(client, "lantern", author="nobody") == []
    assert titles(client, author.replace("-", "")) == []


@pytest.mark.parametrize("sort", ["relevance", "newest"])
def test_pages_and_cursors_show_every_match_once(
    client: Client, write: Write, monkeypatch: pytest.MonkeyPatch, sort: str
) -> None:
    monkeypatch.setattr(index, "PART_SIZE", 3)
    for number in range(10):
        write(title=f"{'Lantern' if number % 3 == 0 else 'Post'} {number}", content="A lantern, of course")
    everything = titles(client, "lantern", sort=sort)
    assert len(set(everything)) == 10
    assert [t for page in (1, 2, 3, 4) for t in titles(client, "lantern", sort=sort, limit=3, page=page)] == everything
    found: list[str] = []
    place: dict[str, Any] = {}
    while True:
        answer = ask(client, "lantern", sort=sort, limit=3, **place)
        found += [post["title"] for post in answer["data"]]
        assert answer["pagination"]["total"] == 10 + bool(place)
        if not answer["pagination"]["hasMore"]:
            break
        if not place:
            write(title="New lantern")
        place = {"cursor": answer["pagination"]["nextCursor"]}
    assert found == everything
    refused(client.get(f"{URL}?cursor={place['cursor']}"), 400, "VALIDATION_ERROR", "cursor")
    assert ask(client, "lantern", page=9)["data"] == []


def test_the_newest_matches_are_ranked_and_counted(
    client: Client, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MAX_MATCHES", 3)
    monkeypatch.setattr(index, "PART_SIZE", 2)
    for title in ("Old lantern", "Lantern", "Post", "Post 2", "Post 3"):
        write(title=title, content="A lantern is here")
    answer = ask(client, "lantern")
    assert [post["title"] for post in answer["data"]] == ["Post 3", "Post 2", "Post"]
    assert (answer["pagination"]["total"], answer["pagination"]["totalIsExact"]) == (3, False)
    exact = ask(client, "lantern", tag="none")["pagination"]
    assert (exact["total"], exact["totalIsExact"]) == (0, True)


def test_newest_is_by_publication(client: Client, ann: Headers, write: Write) -> None:
    draft = write(title="Lantern drafted first", status="draft")
    write(title="Lantern published first")
    client.patch(f"{URL}/{draft['id']}", json={"status": "published"}, headers=ann)
    assert titles(client, "lantern", sort="newest") == ["Lantern drafted first", "Lantern published first"]


def test_highlights_are_escaped_and_marked(client: Client, write: Write) -> None:
    write(title="<b>Lantern</b>", content="<script>lantern()</script> & more")
    (post,) = ask(client, "lantern", highlight="true")["data"]
    assert post["highlight"] == {
        "title": "&lt;b&gt;<mark>Lantern</mark>&lt;/b&gt;",
        "content": "&lt;script&gt;<mark>lantern</mark>()&lt;/script&gt; &amp; more",
    }
    assert "highlight" not in ask(client, "lantern")["data"][0]


def test_a_failed_write_leaves_nothing_to_be_found(
    client: Client, ann: Headers, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = write(title="Lantern")
    monkeypatch.setattr("services.posts.counters.Counter.add_listed_posts", lambda _: 1 / 0)
    client.patch(f"{URL}/{post['id']}", json={"title": "Changed"}, headers=ann)
    client.post(URL, json={"title": "Another lantern", "content": "Long enough", "status": "published"}, headers=ann)
    assert titles(client, "lantern") == ["Lantern"]
    assert titles(client, "changed") == []


@on_sqlite
@pytest.mark.parametrize("limit", [1, 12])
def test_a_search_costs_the_same_queries_whatever_its_length(client: Client, write: Write, limit: int) -> None:
    for number in range(12):
        write(title=f"Lantern {number}", tags=["a", "b"])
    ask(client, "lantern")
    with assert_query_count(4):
        assert len(ask(client, "lantern", limit=limit, tag="a", highlight="true")["data"]) == limit


def test_seeded_posts_are_found(settings: dict[str, str], client: Client) -> None:
    seed(Config.load(settings), [(new_id(), "Writer")], 30, 0, lambda *_: None)
    for item in client.get(f"{URL}?limit=30").json["data"]:
        query = {"tag": item["tags"][0], "author": item["author"]["id"], "limit": 100}
        assert item["id"] in [post["id"] for post in ask(client, item["title"], **query)["data"]]


def test_a_post_of_the_largest_size_in_any_script_is_kept_and_found(client: Client, write: Write) -> None:
    many = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(99_000))
    write(title="Large", content=many)
    assert titles(client, "large") == ["Large"]
    assert titles(client, many[:2]) in (["Large"], [])
