"""Write categories; names are unique whatever their case."""

from typing import Any

import peewee

from services.posts import slugs, text
from services.posts.editing import lock_posts
from services.posts.models import Category, Post, database, feed
from shared.db import is_postgres
from shared.ids import is_id
from shared.problems import Problem


def create(name: str) -> Category:
    """Add a category; raise CONFLICT when there is one of that name."""
    with database.atomic():
        for slug in slugs.candidates(name):
            category = Category(name=name, folded=text.fold(name), slug=slug)
            if _saved(category, force_insert=True):
                return category
    raise Problem("CONFLICT", "No free address was found for this name; try again.")


def locked(key: str, *, and_posts: bool = False) -> Category:
    """Return the category of an id or slug for a change, or raise NOT_FOUND.

    Its posts are locked before it, as whoever writes one of them does.
    """
    if not slugs.may_be_slug(key):
        raise Problem("NOT_FOUND")
    query = Category.select().where(Category.id == key if is_id(key) else Category.slug == key)
    if and_posts and (known := query.first()):
        lock_posts(Post.category == known.id)
    category: Category | None = (query.for_update() if is_postgres(database) else query).first()
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
    """Delete a locked category and take it from its posts, which are changed by that."""
    Post.update(category=None, version=Post.version + 1).where(Post.category == category).execute()
    category.delete_instance()
    feed.publish("category.deleted", category.id, {})


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
