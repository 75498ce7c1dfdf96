"""Fill the database with demo posts and comments in many scripts, quickly enough for a million."""

import itertools
from collections import Counter as Tally
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import orjson
import peewee

from services.posts import slugs, text
from services.posts.app import MIGRATIONS
from services.posts.comments import MAX_DEPTH
from services.posts.config import Config
from services.posts.demo_words import LANGUAGES, TAGS, Language
from services.posts.models import (
    ARCHIVED,
    DRAFT,
    PUBLISHED,
    Author,
    Comment,
    Counter,
    Post,
    PostContent,
    PostTag,
    Tag,
    database,
)
from services.posts.posts import title_key
from services.posts.search import index as search
from shared import clock
from shared.database import connection as db
from shared.ids import new_id

BATCH = 2000  # rows of a transaction
SPAN = timedelta(days=2 * 365)
_COMMENTED = 10_000  # the newest posts, among which comments are spread

Progress = Callable[[int, int], None]
Latest = dict[int, tuple[int | None, int, datetime, int | None]]  # by post: its last comment and the root of that


def seed(config: Config, authors: list[tuple[str, str]], posts: int, comments: int, progress: Progress) -> None:
    """Bring the tables to so many posts and comments; what is there counts, so a second call adds nothing.

    `authors` are ids and names of users; `progress` gets the number of rows written and the number to write.
    """
    database.initialize(db.connect(config.database_url))
    db.migrate(database.obj, MIGRATIONS)
    with database.connection_context():
        missing_posts = max(posts - Post.select().count(), 0)
        missing_comments = max(comments - Comment.select().count(), 0)
        total = missing_posts + missing_comments
        for user_id, name in authors:
            Author.lock_or_add(user_id, name)
        ids = [user_id for user_id, _ in authors]
        for done in _write_posts(TextGenerator(Random(posts)), ids, missing_posts):  # noqa: S311 (nothing secret)
            progress(done, total)
        for done in _write_comments(TextGenerator(Random(comments)), ids, missing_comments):  # noqa: S311
            progress(missing_posts + done, total)


class TextGenerator:
    """Sentences in many languages, made once and drawn from again and again."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._sentences = {language: [self._sentence(language) for _ in range(300)] for language in LANGUAGES}

    def _sentence(self, language: Language) -> str:
        words = self.random.choices(language.words, k=self.random.randint(5, 14))
        return language.space.join(words).capitalize() + language.stop

    def language(self) -> Language:
        return self.random.choice(LANGUAGES)

    def title(self, language: Language) -> str:
        return language.space.join(self.random.sample(language.words, 4)).capitalize()

    def content(self, language: Language, size: int) -> str:
        """Return paragraphs of about so many bytes."""
        sentences = self._sentences[language]
        count = max(size // len(sentences[0].encode()), 1)
        drawn = self.random.choices(sentences, k=count)
        third = count // 3 + 1
        return "\n\n".join(" ".join(drawn[start : start + third]) for start in range(0, count, third))


class PostRows(NamedTuple):
    """The rows of one batch of posts by table."""

    posts: list[tuple[Any, ...]]
    contents: list[tuple[Any, ...]]
    tags: list[tuple[Any, ...]]
    search: list[tuple[Any, ...]]


_POST = (
    Post.number, Post.id, Post.author, Post.title, Post.slug, Post.excerpt, Post.excerpt_is_own, Post.status,
    Post.tags, Post.views, Post.like_count, Post.comment_count, Post.version, Post.published_at, Post.listed_at,
    Post.created_at, Post.updated_at, Post.publication, Post.title_key,
)  # fmt: skip
_COMMENT = (
    Comment.number, Comment.id, Comment.post, Comment.author, Comment.parent, Comment.depth, Comment.content,
    Comment.status, Comment.version, Comment.created_at, Comment.updated_at, Comment.root,
)  # fmt: skip


def _write_posts(prose: TextGenerator, authors: list[str], missing: int) -> Iterator[int]:
    """Write posts in batches, from the oldest to the newest; give the number that is done."""
    names = {text.fold(name): name for name in TAGS}
    tag_ids = Tag.count(dict.fromkeys(names, 0), names)
    start = clock.now() - SPAN
    for done in range(0, missing, BATCH):
        size = min(BATCH, missing - done)
        with database.atomic():
            rows = PostRows([], [], [], [])
            numbers = zip(_numbers(Post, size), _publications(size), strict=True)
            for index, place in enumerate(numbers):
                _add_post(rows, prose, place, authors, start + SPAN * ((done + index) / missing), tag_ids)
            _insert(_POST, rows.posts)
            _insert((PostContent.post, PostContent.content), rows.contents)
            _insert((PostTag.post, PostTag.tag, PostTag.listed_at), rows.tags)
            _insert_rows("post_search", search.columns(), rows.search)
            for tag, count in sorted(Tally(tag for _, tag, listed in rows.tags if listed).items()):
                Tag.update(post_count=Tag.post_count + count).where(Tag.id == tag).execute()
            Counter.add_listed_posts(sum(row[7] == PUBLISHED for row in rows.posts))
        yield done + size


def _add_post(
    rows: PostRows,
    prose: TextGenerator,
    place: tuple[int, int],
    authors: list[str],
    moment: datetime,
    tag_ids: dict[str, int],
) -> None:
    language, random, (number, publication) = prose.language(), prose.random, place
    title, content = prose.title(language), prose.content(language, random.randint(700, 1900))
    status = random.choices((PUBLISHED, DRAFT, ARCHIVED), (94, 4, 2))[0]
    tags = random.sample(TAGS, 3)
    at = clock.rfc3339(moment)
    published, listed = None if status == DRAFT else at, at if status == PUBLISHED else None
    slug, excerpt, written = f"{slugs.slugify(title)}-{number}", text.excerpt(content), orjson.dumps(tags).decode()
    author = random.choice(authors)
    rows.posts.append(
        (number, new_id(), author, title, slug, excerpt, False, status, written, 0, 0, 0, 1, published, listed, at, at,
         publication if published else None, title_key(title))
    )  # fmt: skip
    rows.contents.append((number, content))
    rows.tags.extend((number, tag_ids[text.fold(tag)], listed) for tag in tags)
    if listed:
        labels: list[tuple[str, str | int]] = [
            (search.AUTHOR_ID, author),
            *((search.TAG_ID, tag_ids[text.fold(tag)]) for tag in tags),
        ]
        rows.search.append((publication, search.stored(search.lexemes(publication, title, tags, content, labels))))


def _write_comments(prose: TextGenerator, authors: list[str], missing: int) -> Iterator[int]:
    """Write comments in batches, some of them replies; give the number that is done."""
    newest = (
        Post.select(Post.number, Post.listed_at).where(Post.listed_at.is_null(False)).order_by(Post.listed_at.desc())
    )
    latest: Latest = {post.number: (None, 0, post.listed_at, None) for post in newest.limit(_COMMENTED)}
    posts = list(latest)
    missing = missing if posts else 0
    for done in range(0, missing, BATCH):
        size = min(BATCH, missing - done)
        with database.atomic():
            rows = []
            for number in _numbers(Comment, size):
                post = prose.random.choice(posts)
                rows.append(_comment(prose, number, post, prose.random.choice(authors), latest))
            _insert(_COMMENT, rows)
            _add_counts(Tally(row[2] for row in rows))
        yield done + size


def _comment(prose: TextGenerator, number: int, post: int, author: str, latest: Latest) -> tuple[Any, ...]:
    """Return the row of a comment that stands after the latest on its post and may answer it."""
    before, depth, moment, first = latest[post]
    answers = before is not None and depth < MAX_DEPTH and prose.random.random() < 0.5
    moment += (clock.now() - moment) * (prose.random.random() / 10)
    root = (first or before) if answers else None
    latest[post] = (number, depth + 1 if answers else 1, moment, root)
    content = prose.content(prose.language(), prose.random.randint(20, 200))
    at, parent = clock.rfc3339(moment), before if answers else None
    return (number, new_id(), post, author, parent, latest[post][1], content, "visible", 1, at, at, root)


def _add_counts(counts: Tally[int]) -> None:
    for post, count in sorted(counts.items()):
        Post.update(comment_count=Post.comment_count + count).where(Post.number == post).execute()


def _numbers(model: type[Post] | type[Comment], size: int) -> list[int]:
    """Return free numbers; inside the transaction nobody else gets them."""
    if db.is_postgres(database):
        query = "SELECT nextval(pg_get_serial_sequence(%s, 'number')) FROM generate_series(1, %s)"
        return [number for (number,) in database.execute_sql(query, (model._meta.table_name, size))]
    first = (model.select(peewee.fn.MAX(model.number)).scalar() or 0) + 1
    return list(itertools.islice(itertools.count(first), size))


def _publications(size: int) -> list[int]:
    """Return numbers of publication, of which drafts leave some unused."""
    if db.is_postgres(database):
        query = "SELECT nextval('post_publication_seq') FROM generate_series(1, %s)"
        return [number for (number,) in database.execute_sql(query, (size,))]
    first = search.last_publication() + 1
    return list(range(first, first + size))


def _insert(columns: Sequence[peewee.Field], rows: list[tuple[Any, ...]]) -> None:
    _insert_rows(columns[0].model._meta.table_name, [column.column_name for column in columns], rows)


def _insert_rows(table: str, columns: Sequence[str], rows: list[tuple[Any, ...]]) -> None:
    """Insert rows past the query builder, as fast as the driver can."""
    names, connection = ", ".join(columns), database.connection()
    if db.is_postgres(database):
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
    else:
        places = ", ".join("?" * len(columns))
        connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", rows)  # noqa: S608 (own names)
