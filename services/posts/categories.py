"""Write categories; names are unique whatever their case."""

from datetime import timedelta
from typing import Any

import peewee

from services.posts import slugs, text
from services.posts.models import Category, Post, database, feed
from services.posts.posts import lock_posts
from shared import clock
from shared.database.locking import locking
from shared.ids import is_id
from shared.problems import Problem

BATCH_SIZE = 500  # posts of a transaction
CLEANUP_INTERVAL = 60.0  # seconds
GRACE_PERIOD = timedelta(minutes=1)  # then nobody writes a post any more for which the category was still there


def create(name: str) -> Category:
    """Add a category; raise CONFLICT when there is one of that name."""
    with database.atomic():
        for slug in slugs.candidates(name):
            category = Category(name=name, folded=text.fold(name), slug=slug)
            if _saved(category, force_insert=True):
                return category
    raise Problem("CONFLICT", "No free address was found for this name; try again.")


def locked(key: str) -> Category:
    """Return the category of an id or slug for a change, or raise NOT_FOUND."""
    query = Category.existing().where(Category.id == (key if is_id(key) else Category.id_of(key)))
    category: Category | None = locking(query).first()
    if category is None:
        raise Problem("NOT_FOUND")
    return category


def rename(category: Category, name: str) -> None:
    """Give a locked category another name; its slug stays."""
    if name != category.name:
        category.name, category.folded = name, text.fold(name)
        category.version += 1
        _saved(category, only=[Category.name, Category.folded, Category.version])
        feed.publish("category.updated", category.id, {})


def delete(category: Category) -> None:
    """Delete a locked category, which its posts show no longer, and free its name and slug.

    Nothing of the posts is touched: they may be many, and who writes one locks it before its category.
    """
    category.slug = category.folded = f"{slugs.DELETED_MARK}{category.id}"
    category.deleted_at = clock.now()
    category.save()
    feed.publish("category.deleted", category.id, {})


def purge_deleted() -> None:
    """Remove deleted categories from their posts, in batches, and then delete the rows."""
    for category in Category.select().where(Category.deleted_at < clock.now() - GRACE_PERIOD):
        while _take_from_some(category):
            pass
        category.delete_instance()


def _take_from_some(category: Category) -> bool:
    with database.atomic():
        some = Post.select(Post.number).where(Post.category == category).limit(BATCH_SIZE)
        theirs = Post.number.in_([post.number for post in some]) & (Post.category == category)
        lock_posts(theirs)
        return bool(Post.update(category=None).where(theirs).execute())


def _saved(category: Category, **how: Any) -> bool:
    """Write a category; return False when its slug is taken."""
    try:
        with database.atomic():
            category.save(**how)
    except peewee.IntegrityError as error:
        if "folded" in str(error):
            raise Problem("CONFLICT", "There is a category of this name.") from error
        return False
    return True
