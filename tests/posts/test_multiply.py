"""The copies that benchmarks measure with are posts like those that were written."""

from benchmarks.multiply import multiply
from services.posts.config import Config
from services.posts.demo_data import seed
from services.posts.models import Post
from shared.ids import is_id, new_id
from tests.posts.conftest import Client, Headers, Write

URL = "/api/posts"


def test_copies_are_listed_counted_and_found(
    settings: dict[str, str], client: Client, ann: Headers, write: Write
) -> None:
    seed(Config.load(settings), [(new_id(), "Writer")], 20, 0, lambda *_: None)
    tags = {row["name"]: row["postCount"] for row in client.get("/api/tags?limit=100").json["data"]}
    first = client.get(f"{URL}?limit=1").json
    item, listed = first["data"][0], first["pagination"]["total"]
    multiply(60)
    multiply(60)
    assert Post.select().count() == 60
    assert all(is_id(post.id) for post in Post.select(Post.id))
    assert {row["name"]: row["postCount"] for row in client.get("/api/tags?limit=100").json["data"]} == {
        name: 3 * count for name, count in tags.items()
    }
    pages = client.get(f"{URL}?limit=60").json
    assert len(pages["data"]) == pages["pagination"]["total"] == 3 * listed
    query = {"q": item["title"], "tag": item["tags"][0], "author": item["author"]["id"], "limit": 60}
    for sort in ("relevance", "newest"):
        found = client.get(URL, query_string=query | {"sort": sort}).json
        assert [post["title"] for post in found["data"]].count(item["title"]) == 3
        assert found["pagination"]["total"] % 3 == 0
    newest = write(title="Afterwards")
    assert client.get(f"{URL}?limit=1&q=afterwards").json["data"][0]["id"] == newest["id"]
