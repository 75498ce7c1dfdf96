"""What becomes of authors and covers when the feeds do not reach back to where this service was."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.posts.config import Config
from services.posts.feed_consumers import AuthorConsumer, CoverConsumer
from services.posts.models import DELETED_USER_NAME, Author, FeedPosition
from shared.feed.consumer import FeedConsumer
from shared.ids import first_id
from tests.feeds import TOLD, ServedFeed
from tests.posts.conftest import AsUser, Client, Write

LONG_AGO = [f"{first_id(TOLD)[:-1]}{digit}" for digit in "1234"]


@pytest.fixture
def feed() -> Iterator[ServedFeed]:
    """A feed that has forgotten its first fact."""
    feed = ServedFeed("whoever")
    with feed.served():
        feed.tell("forgotten", "x")
        feed.forget()
        yield feed


@pytest.fixture
def settings(settings: dict[str, str], feed: ServedFeed) -> dict[str, str]:
    return settings | {"AUTH_URL": feed.url, "UPLOADS_URL": feed.url}


def read(reader: FeedConsumer) -> None:
    while reader.read_batch():
        pass


def test_authors_are_as_auth_knows_them(
    client: Client, feed: ServedFeed, settings: dict[str, str], write: Write, as_user: AsUser
) -> None:
    ann, bob, *_ = LONG_AGO
    posts = [write(as_user(name, user_id=user)) for user, name in ((ann, "Ann"), (bob, "Bob"))]
    young = write(as_user("Eve"))
    draft = write(as_user("Bob", user_id=bob), status="draft")
    feed.tables["/internal/users"] = [{"id": ann, "name": "Anna", "avatar": None}]
    read(AuthorConsumer(Config.load(settings)))
    names = [client.get(f"/api/posts/{post['id']}").json["data"]["author"]["name"] for post in (*posts, young)]
    assert names == ["Anna", DELETED_USER_NAME, "Eve"]
    answer = client.get(f"/api/posts/{draft['id']}", headers=as_user("Bob", user_id=bob))
    assert answer.status_code == 404
    assert FeedPosition.get_by_id("auth").event_id == "0-1"


def test_a_name_that_is_told_afterwards_counts(client: Client, feed: ServedFeed, settings: dict[str, str]) -> None:
    ann = LONG_AGO[0]
    feed.tables["/internal/users"] = [{"id": ann, "name": "Anna", "avatar": None}]
    reader = AuthorConsumer(Config.load(settings))
    read(reader)
    feed.tell("user.updated", ann, id=ann, name="From before the table was read", avatar=None)
    feed.tell("user.updated", ann, id=ann, name="Annette", avatar=None)
    feed.events[-1]["time"] = "2999-01-01T00:00:00Z"
    read(reader)
    assert Author.get_by_id(ann).name == "Annette"


@pytest.mark.parametrize("known", [[], LONG_AGO[:1]])
def test_covers_that_uploads_does_not_know_go(
    client: Client, feed: ServedFeed, settings: dict[str, str], write: Write, known: list[str]
) -> None:
    posts = {upload: write(coverImage=upload) for upload in LONG_AGO[:2]}
    feed.tables["/internal/uploads"] = [{"id": upload} for upload in known]
    read(CoverConsumer(Config.load(settings)))

    def cover(post: Any) -> object:
        return client.get(f"/api/posts/{post['id']}").json["data"]["coverImage"]

    assert {upload for upload, post in posts.items() if cover(post)} == set(known)
