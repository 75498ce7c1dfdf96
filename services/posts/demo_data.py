"""Fill the database with demo posts and comments in many scripts."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from services.posts import comments, posts
from services.posts.app import MIGRATIONS
from services.posts.config import Config
from services.posts.demo_words import LANGUAGES, TAGS, Language
from services.posts.models import DRAFT, PUBLISHED, Comment, Post, database
from shared import clock
from shared.database import connection
from shared.identity.claims import Claims

BATCH = 50  # posts or comments of a transaction
SPAN = timedelta(days=2 * 365)
_COMMENTED = 10_000  # the newest posts, among which comments are spread

Progress = Callable[[int, int], None]


def seed(config: Config, authors: list[tuple[str, str]], posts: int, comments: int, progress: Progress) -> None:
    """Bring the tables to so many posts and comments; what is there counts, so a second call adds nothing.

    `authors` are ids and names of users; `progress` gets the number of rows written and the number to write.
    """
    database.initialize(connection.connect(config.database_url))
    connection.migrate(database.obj, MIGRATIONS)
    claims = [Claims(user_id, "", name, "user", "", "", 0, 0) for user_id, name in authors]
    with database.connection_context():
        missing_posts = max(posts - Post.select().count(), 0)
        missing_comments = max(comments - Comment.select().count(), 0)
        total = missing_posts + missing_comments
        writer = PostWriter(TextGenerator(Random(posts)), claims, missing_posts)  # noqa: S311 (nothing secret)
        _in_batches(writer.write, missing_posts, lambda done: progress(done, total))
        commenter = CommentWriter(TextGenerator(Random(comments)), claims)  # noqa: S311
        if commenter.latest:
            _in_batches(commenter.write, missing_comments, lambda done: progress(missing_posts + done, total))


def _in_batches(write: Callable[[], None], count: int, progress: Callable[[int], None]) -> None:
    for start in range(0, count, BATCH):
        end = min(start + BATCH, count)
        with database.atomic():
            for _ in range(start, end):
                write()
        progress(end)


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


class PostWriter:
    """Writes posts, from the oldest to the newest, in the course of two years."""

    def __init__(self, prose: TextGenerator, authors: list[Claims], count: int) -> None:
        self._prose, self._authors = prose, authors
        self._moment, self._step = clock.now() - SPAN, SPAN / max(count, 1)

    def write(self) -> None:
        random, language = self._prose.random, self._prose.language()
        data = {
            "title": self._prose.title(language),
            "content": self._prose.content(language, random.randint(700, 1900)),
            "excerpt": None,
            "status": random.choices((PUBLISHED, DRAFT), (19, 1))[0],
            "tags": random.sample(TAGS, 3),
            "category": None,
            "cover_image": None,
        }
        posts.create_post(random.choice(self._authors), data, self._moment)
        self._moment += self._step


class CommentWriter:
    """Writes comments on the newest posts, some of them replies to the last one there."""

    def __init__(self, prose: TextGenerator, authors: list[Claims]) -> None:
        self._prose, self._authors = prose, authors
        newest = Post.select().where(Post.listed_at.is_null(False)).order_by(Post.listed_at.desc()).limit(_COMMENTED)
        self.latest: list[tuple[Post, str | None, int, datetime]] = [(post, None, 0, post.listed_at) for post in newest]

    def write(self) -> None:
        prose, random = self._prose, self._prose.random
        place = random.randrange(len(self.latest))
        post, parent, depth, moment = self.latest[place]
        if depth == comments.MAX_DEPTH or random.random() < 0.5:
            parent, depth = None, 0
        moment += (clock.now() - moment) * (random.random() / 10)
        data = {"content": prose.content(prose.language(), random.randint(20, 200)), "parent_id": parent}
        written = comments.create(random.choice(self._authors), post, data, limited=False, at=moment)
        self.latest[place] = (post, written, depth + 1, moment)
