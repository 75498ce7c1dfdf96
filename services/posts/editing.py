"""Write posts and comments: each a transaction, in which the database decides on slugs, counts and rights of way.

Rows are always locked in the same order (author, post, tags, total), so that writers cannot block each other.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import orjson
import peewee

from services.posts import slugs, text
from services.posts.models import (
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
    feed,
)
from shared import clock
from shared.db import is_postgres
from shared.problems import Problem
from shared.tokens import Claims

MAX_DEPTH = 6  # levels of comments
Result = TypeVar("Result")


def create_post(claims: Claims, data: dict[str, Any]) -> str:
    """Write a post and return its id."""
    now = clock.now()
    with database.atomic():
        Author.introduce(claims.user_id, claims.name)
        post = Post(
            author=claims.user_id,
            title=data["title"],
            status=data["status"],
            cover_image=data["cover_image"],
            tags=_json(data["tags"]),
            published_at=now if data["status"] == PUBLISHED else None,
            created_at=now,
            updated_at=now,
        )
        post.listed_at = post.published_at
        _set_excerpt(post, data["excerpt"], data["content"])
        _with_free_slug(post, lambda: post.save(force_insert=True))
        PostContent.insert(post=post, content=data["content"]).execute()
        _set_tags(post, data["tags"])
        Counter.add_listed_posts(int(post.listed_at is not None))
        if post.published_at:
            _tell_published(post)
    return str(post.id)


def locked_post(post_id: str) -> Post | None:
    """Return the post for a change: nobody else changes it before the transaction ends."""
    query = Post.select().where(Post.id == post_id, Post.deleted_at.is_null())
    post: Post | None = (query.for_update() if is_postgres(database) else query).first()
    return post


def fields_of(post: Post) -> dict[str, Any]:
    """Return what a client can write, as it would write it."""
    return {
        "title": post.title,
        "content": PostContent.select(PostContent.content).where(PostContent.post == post).scalar(),
        "excerpt": post.excerpt if post.excerpt_is_own else None,
        "status": post.status,
        "tags": orjson.loads(post.tags),
        "cover_image": post.cover_image,
    }


def change_post(post: Post, current: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Change a locked post to what is wanted; what is equal already changes nothing, not even the version."""
    changes = {name: value for name, value in wanted.items() if current[name] != value}
    if not changes:
        return
    new, now = current | changes, clock.now()
    had_title, was_published, was_listed = post.title, post.published_at, post.listed_at
    post.title, post.status, post.cover_image = new["title"], new["status"], new["cover_image"]
    post.tags = _json(new["tags"])
    _set_excerpt(post, new["excerpt"], new["content"])
    _set_published(post, now)
    post.version += 1
    post.updated_at = now
    if post.title != had_title and not was_published:
        _with_free_slug(post, post.save)
    else:
        post.save()
    if "content" in changes:
        PostContent.update(content=new["content"]).where(PostContent.post == post).execute()
    if "tags" in changes or post.listed_at != was_listed:
        _set_tags(post, new["tags"])
    Counter.add_listed_posts(int(post.listed_at is not None) - int(was_listed is not None))
    if post.published_at and not was_published:
        _tell_published(post)
    elif was_published:
        feed.publish("post.updated", post.id, {"id": post.id, "authorId": post.author_id})


def delete_post(post: Post) -> None:
    """Hide a locked post for good, and free its slug."""
    was_listed = post.listed_at is not None
    post.slug = f"{post.slug}{slugs.FREED}{post.number}"
    post.deleted_at = clock.now()
    post.listed_at = None
    post.version += 1
    post.save()
    PostTag.update(listed_at=None).where(PostTag.post == post).execute()
    Counter.add_listed_posts(-int(was_listed))
    if post.published_at:
        feed.publish("post.deleted", post.id, {"id": post.id, "authorId": post.author_id})


def discard_drafts(author_id: str) -> None:
    """Delete the drafts of a user who is gone."""
    drafts = (Post.author == author_id, Post.status == DRAFT, Post.deleted_at.is_null())
    Post.update(slug=Post.slug.concat(slugs.FREED).concat(Post.number.cast("text")), deleted_at=clock.now()).where(
        *drafts
    ).execute()


def create_comment(claims: Claims, post_number: int, data: dict[str, Any]) -> str:
    """Write a comment and return its id; raise NOT_FOUND when the post has just been deleted."""
    now = clock.now()
    with database.atomic():
        Author.introduce(claims.user_id, claims.name)
        is_there = (Post.number == post_number, Post.deleted_at.is_null())
        if not Post.update(comment_count=Post.comment_count + 1).where(*is_there).execute():
            raise Problem("NOT_FOUND")
        parent = _parent(post_number, data["parent_id"])
        comment = Comment.create(
            post=post_number,
            author=claims.user_id,
            parent=parent,
            depth=parent.depth + 1 if parent else 1,
            content=data["content"],
            created_at=now,
            updated_at=now,
        )
        post_id = Post.select(Post.id).where(Post.number == post_number).scalar()
        feed.publish("comment.created", comment.id, {"postId": post_id, "authorId": claims.user_id})
    return str(comment.id)


def _parent(post_number: int, parent_id: str | None) -> Comment | None:
    if parent_id is None:
        return None
    parent: Comment | None = Comment.get_or_none(Comment.id == parent_id, Comment.post == post_number)
    if parent is None:
        raise Problem("VALIDATION_ERROR", errors={"parentId": ["Is no comment on this post."]})
    if parent.depth >= MAX_DEPTH:
        raise Problem("VALIDATION_ERROR", errors={"parentId": [f"Replies nest to {MAX_DEPTH} levels."]})
    return parent


def _with_free_slug(post: Post, write: Callable[[], object]) -> None:
    """Write the post under the first slug of its title that the unique index accepts."""
    for slug in slugs.candidates(post.title):
        post.slug = slug
        try:
            with database.atomic():
                write()
            return
        except peewee.IntegrityError as error:
            if "slug" not in str(error):
                raise
    raise Problem("CONFLICT", "No free address was found for this title; try again.")


def _set_excerpt(post: Post, own: str | None, content: str) -> None:
    post.excerpt_is_own = own is not None
    post.excerpt = text.excerpt(content) if own is None else own


def _set_published(post: Post, now: datetime) -> None:
    """Note when the post was first published, and list it while it is."""
    if post.status == PUBLISHED:
        post.published_at = post.published_at or now
    post.listed_at = post.published_at if post.status == PUBLISHED else None


def _set_tags(post: Post, names: list[str]) -> None:
    PostTag.delete().where(PostTag.post == post).execute()
    if names:
        rows = [{"post": post, "tag": tag, "listed_at": post.listed_at} for tag in Tag.ids(names)]
        PostTag.insert_many(rows).execute()


def _tell_published(post: Post) -> None:
    feed.publish(
        "post.published",
        post.id,
        {
            "id": post.id,
            "slug": post.slug,
            "title": post.title,
            "authorId": post.author_id,
            "publishedAt": clock.rfc3339(post.published_at),
        },
    )


def _json(names: list[str]) -> str:
    return orjson.dumps(names).decode()
