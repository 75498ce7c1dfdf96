"""Write comments: each a transaction, in which the database decides on counts, replies and who comments too often.

Rows are locked in the order author, post, comment.
"""

from datetime import datetime, timedelta
from typing import Any

from services.posts.models import DELETED, VISIBLE, Author, Comment, CommentTime, Post, database, feed
from services.posts.post_queries import Row
from shared import clock
from shared.database.locking import locking
from shared.identity.claims import Claims
from shared.problems import Problem

MAX_DEPTH = 6  # levels
EDIT_WINDOW = timedelta(minutes=15)
RATE_LIMIT = 10
RATE_WINDOW = timedelta(minutes=1)


def create(claims: Claims, post: Row | Post, data: dict[str, Any], *, limited: bool, at: datetime | None = None) -> str:
    """Write a comment as of a moment, or now, and return its id; raise NOT_FOUND for a post that is deleted by now."""
    now = at or clock.now()
    with database.atomic():
        Author.lock_or_add(claims.user_id, claims.name)
        if limited:
            _check_rate(claims.user_id, now)
        if not _add_to_count(post.number, 1):
            raise Problem("NOT_FOUND")
        parent = _parent(post.number, data["parent_id"])
        comment = Comment.create(
            post=post.number,
            author=claims.user_id,
            parent=parent,
            root=(parent.root or parent.number) if parent else None,
            depth=parent.depth + 1 if parent else 1,
            content=data["content"],
            created_at=now,
            updated_at=now,
        )
        if post.listed_at:
            feed.publish("comment.created", comment.id, _fact(comment, post))
    return str(comment.id)


def _check_rate(user_id: str, now: datetime) -> None:
    """Rate-limit comments per user. Deleted comments still count. Raises RATE_LIMITED."""
    locking(Author.select(Author.id).where(Author.id == user_id)).first()  # one comment of a user at a time
    CommentTime.delete().where(CommentTime.user_id == user_id, CommentTime.created_at <= now - RATE_WINDOW).execute()
    latest = CommentTime.select().where(CommentTime.user_id == user_id).order_by(CommentTime.created_at.desc())
    moments = [row.created_at for row in latest.limit(RATE_LIMIT)]
    if len(moments) == RATE_LIMIT:
        wait = (moments[-1] + RATE_WINDOW - now).total_seconds()
        raise Problem("RATE_LIMITED", f"At most {RATE_LIMIT} comments a minute.", retryAfter=wait)
    CommentTime.create(user_id=user_id, created_at=now)


def _parent(post_number: int, parent_id: str | None) -> Comment | None:
    if parent_id is None:
        return None
    parent: Comment | None = locking(
        Comment.select().where(Comment.id == parent_id, Comment.post == post_number)
    ).first()
    if parent is None or parent.status != VISIBLE:
        raise Problem("VALIDATION_ERROR", errors={"parentId": ["Is no comment on this post."]})
    if parent.depth >= MAX_DEPTH:
        raise Problem("VALIDATION_ERROR", errors={"parentId": [f"Replies nest to {MAX_DEPTH} levels."]})
    return parent


def locked(comment_id: str) -> Comment | None:
    """Return the comment, unless it is deleted, for a change; its post is locked with it."""
    its_post = Comment.select(Comment.post).where(Comment.id == comment_id)
    if locking(Post.select(Post.number).where(Post.number == its_post)).first() is None:
        return None
    comment: Comment | None = locking(
        Comment.select().where(Comment.id == comment_id, Comment.status != DELETED)
    ).first()
    return comment


def change(comment: Comment, content: str, status: str) -> None:
    """Give a locked comment another content or status."""
    if (content, status) == (comment.content, comment.status):
        return
    _add_to_count(comment.post_id, int(status == VISIBLE) - int(comment.status == VISIBLE))
    if content != comment.content:
        comment.updated_at = clock.now()
    was = comment.status
    comment.content, comment.status = content, status
    comment.version += 1
    comment.save()
    _publish_change(comment, was)


def _publish_change(comment: Comment, was: str) -> None:
    """Publish the feed event of a change of a comment that everybody could or can see."""
    post = Post.get_by_id(comment.post_id)
    about = {"id": comment.id, "postId": post.id}
    if comment.status != VISIBLE:
        if was == VISIBLE:
            feed.publish("comment.hidden", comment.id, about | {"wasVisible": post.listed_at is not None})
    elif post.listed_at:
        if was == VISIBLE:
            feed.publish("comment.updated", comment.id, _fact(comment, post))
        else:
            feed.publish("comment.shown", comment.id, _fact(comment, post))


def delete(comment: Comment) -> None:
    """Delete a locked comment; with replies it stays as a tombstone, until the last of them goes too."""
    _add_to_count(comment.post_id, -int(comment.status == VISIBLE))
    post = Post.get_by_id(comment.post_id)
    seen = comment.status == VISIBLE and post.listed_at is not None
    feed.publish("comment.deleted", comment.id, {"id": comment.id, "postId": post.id, "wasVisible": seen})
    if _has_replies(comment):
        comment.content, comment.status = "", DELETED
        comment.version += 1
        comment.save()
        return
    gone: Comment | None = comment
    while gone is not None:
        above = gone.parent
        gone.delete_instance()
        gone = above if above and above.status == DELETED and not _has_replies(above) else None


def _has_replies(comment: Comment) -> bool:
    return Comment.select().where(Comment.parent == comment.number).exists()


def _add_to_count(post_number: int, change: int) -> bool:
    """Count visible comments, and lock the post; return False when it is deleted."""
    is_there = (Post.number == post_number, Post.deleted_at.is_null())
    return bool(Post.update(comment_count=Post.comment_count + change).where(*is_there).execute())


def _fact(comment: Comment, post: Any) -> dict[str, Any]:
    """Return the data of a feed event about a visible comment."""
    return {
        "id": comment.id,
        "postId": post.id,
        "postTitle": post.title,
        "postAuthorId": post.author_id,
        "authorId": comment.author_id,
        "authorName": comment.author.name,
        "parentId": comment.parent.id if comment.parent else None,
        "parentAuthorId": comment.parent.author_id if comment.parent else None,
    }
