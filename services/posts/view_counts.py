"""Count the views of posts: collected in memory, written in batches, each viewer once an hour."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from itertools import chain
from typing import Any

from services.posts import slugs
from services.posts.models import Post, PostView, database
from shared import clock
from shared.database.database_task import DatabaseTask
from shared.database.locking import delete_unlocked
from shared.ids import is_id

VIEW_WINDOW = timedelta(hours=1)
WRITE_INTERVAL = 1.0  # seconds between two batches
MAX_PENDING = 20_000  # views of a pause; what comes above is not counted
_BATCH = 500  # rows of a statement


class ViewCounter(DatabaseTask):
    """The views of this process that are not written yet, and the thread that writes them."""

    def __init__(self, secret: str) -> None:
        super().__init__("counting of views", WRITE_INTERVAL, self.write, database)
        self._secret = secret.encode()[:64]
        self._pending: set[tuple[int | str, str]] = set()
        self._lock = threading.Lock()

    def record(self, post: int | str, viewer: str) -> None:
        """Add a view of a post (number, id or slug) to those to be written. Does not touch the database."""
        view = (post, hashlib.blake2b(viewer.encode(), key=self._secret, digest_size=16).hexdigest())
        with self._lock:
            if len(self._pending) < MAX_PENDING:
                self._pending.add(view)

    def stop(self) -> None:
        """End the thread, and write what is left."""
        super().stop()
        self._works()
        database.close()

    def write(self) -> None:
        """Write the pending views; after a failure they stay pending."""
        with self._lock:
            noted, self._pending = self._pending, set()
        if noted:
            try:
                _count(noted)
            except BaseException:
                with self._lock:
                    self._pending |= noted
                raise


def _count(noted: Iterable[tuple[int | str, str]]) -> None:
    """Add the views of viewers who did not look at the same post within the last hour."""
    numbers = _numbers({post for post, _ in noted})
    pairs = sorted({(numbers[post], viewer) for post, viewer in noted if post in numbers})
    now = clock.now()
    with database.atomic():
        counts: Counter[int] = Counter()
        for start in range(0, len(pairs), _BATCH):
            rows = [(number, viewer, now) for number, viewer in pairs[start : start + _BATCH]]
            insert: Any = PostView.insert_many(rows, fields=[PostView.post, PostView.viewer, PostView.seen_at])
            counted = insert.on_conflict(
                conflict_target=[PostView.post, PostView.viewer],
                update={PostView.seen_at: now},
                where=PostView.seen_at <= now - VIEW_WINDOW,
            ).returning(PostView.post)
            counts.update(number for (number,) in counted.tuples().execute())
        for number, count in sorted(counts.items()):
            Post.update(views=Post.views + count).where(Post.number == number).execute()
        delete_unlocked(PostView, PostView.seen_at < now - VIEW_WINDOW)


def _numbers(posts: set[int | str]) -> dict[int | str, int]:
    """Return the numbers of the posts that everybody may see, by what they were noted under."""
    found: dict[int | str, int] = {}
    wanted = sorted(posts, key=str)
    for start in range(0, len(wanted), _BATCH):
        some = wanted[start : start + _BATCH]
        numbers, names = [key for key in some if isinstance(key, int)], [key for key in some if isinstance(key, str)]
        spelled = {name: slugs.spellings(name) for name in names}
        is_one = Post.number.in_(numbers) | Post.id.in_([key for key in names if is_id(key)])
        is_one |= Post.slug.in_(list(chain.from_iterable(spelled.values())))
        for post in Post.select(Post.number, Post.id, Post.slug).where(is_one, Post.listed_at.is_null(False)):
            found |= {post.number: post.number, post.id: post.number, post.slug: post.number}
        for name, possible in spelled.items():
            if known := [found[slug] for slug in possible if slug in found]:
                found[name] = known[0]
    return found
