from pathlib import Path

import peewee
import pytest
from playhouse.migrations import Runner

from services.posts import models
from services.posts.app import MIGRATIONS
from services.posts.config import Config
from services.posts.demo_data import seed
from services.posts.models import Author, Comment, Post, PostTag, database
from shared.database import connection as db
from shared.ids import new_id
from shared.settings import SettingsError
from tests.helpers import assert_models_match_migrations
from tests.posts.conftest import Client, Write, on_postgres

TABLES = (
    models.Fact,
    models.FeedPosition,
    models.IdempotencyKey,
    models.Counter,
    models.Author,
    models.Category,
    models.Post,
    models.PostContent,
    models.Tag,
    models.PostTag,
    models.PostLike,
    models.PostView,
    models.Comment,
    models.CommentTime,
)


def test_models_and_migrations_agree(empty_database_url: str) -> None:
    assert_models_match_migrations(TABLES, db.connect(empty_database_url), MIGRATIONS, ("post_search",))


def test_migrations_can_be_undone_and_done_again(empty_database_url: str) -> None:
    connection = db.connect(empty_database_url)
    with connection.connection_context():
        runner = Runner(connection, str(MIGRATIONS))
        assert runner.up() == runner.down(runner.migrations()[0].name)[::-1]
        assert connection.get_tables() == ["schema_migration"]
        assert runner.up()


@pytest.mark.parametrize("empty_database_url", ["sqlite"], indirect=True)
def test_a_second_start_migrates_nothing(empty_database_url: str) -> None:
    connection = db.connect(empty_database_url)
    assert db.migrate(connection, MIGRATIONS)
    assert db.migrate(connection, MIGRATIONS) == []


def test_bad_settings_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Config.load({"POSTS_PORT": "0", "POSTS_DATABASE_URL": "mysql://x/y", "APP_ENV": "production"})
    assert [mistake.split()[0] for mistake in caught.value.mistakes] == [
        "INTERNAL_TOKEN",
        "POSTS_DATABASE_URL",
        "POSTS_PORT",
    ]


def test_seeding_adds_what_is_missing_and_no_more(
    settings: dict[str, str], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.posts.demo_data.BATCH", 20)
    config, people = Config.load(settings), [(new_id(), f"Writer {number}") for number in range(5)]
    steps: list[tuple[int, int]] = []
    seed(config, people, 30, 20, lambda *step: steps.append(step))
    assert steps == [(20, 50), (30, 50), (50, 50)]
    seed(config, people, 40, 20, lambda *step: steps.append(step))
    assert steps[3:] == [(10, 10)]
    seed(config, people, 40, 20, lambda *step: steps.append(step))
    assert (Post.select().count(), Comment.select().count(), Author.select().count(), len(steps)) == (40, 20, 5, 4)


def test_seeded_posts_are_like_written_ones(settings: dict[str, str], client: Client) -> None:
    seed(Config.load(settings), [(new_id(), "Writer")], 60, 30, lambda *_: None)
    listed = Post.select().where(Post.listed_at.is_null(False)).count()
    first = client.get("/api/posts?limit=60").json
    assert first["pagination"]["total"] == len(first["data"]) == listed < 60
    moments = [post["publishedAt"] for post in first["data"]]
    assert moments == sorted(moments, reverse=True)
    for item in first["data"]:
        post = client.get(f"/api/posts/{item['slug']}").json["data"]
        comments = client.get(f"/api/posts/{item['id']}/comments").json
        assert len(post["tags"]) == 3
        assert post["content"].startswith(post["excerpt"][:20].split("\n")[0])
        assert len(comments["data"]) == post["commentCount"] == comments["pagination"]["total"]
        tagged = client.get("/api/posts", query_string={"tag": post["tags"][0], "limit": 60}).json["data"]
        assert item in tagged
    assert PostTag.select().count() == 180
    assert Comment.select(peewee.fn.MAX(Comment.depth)).scalar() > 1


def test_writing_goes_on_after_seeding(settings: dict[str, str], client: Client, ann: dict[str, str]) -> None:
    seed(Config.load(settings), [(new_id(), "Writer")], 10, 5, lambda *_: None)
    post = {"title": "Afterwards", "content": "It goes on.", "status": "published"}
    assert client.post("/api/posts", json=post, headers=ann).status_code == 201
    assert client.get("/api/posts").json["data"][0]["title"] == "Afterwards"


def test_the_migrations_are_where_the_service_looks() -> None:
    assert (Path(MIGRATIONS) / "0001_schema.py").exists()


@on_postgres
def test_tags_can_be_written_for_ever(client: Client, write: Write) -> None:
    write(tags=["before"])
    database.execute_sql("SELECT setval('tag_id_seq', 2147483647)")
    write(tags=["after", "before"])
    for tag in ("before", "after"):
        assert client.get(f"/api/posts?tag={tag}").json["data"][0]["tags"] == ["after", "before"]
