"""Likes: a set of users for each post, and their number, in one transaction."""

from services.posts.models import Post, PostLike, database, feed
from services.posts.post_queries import Row
from shared import clock
from shared.identity.claims import Claims
from shared.problems import Problem


def set_like(user: Claims, post: Row, *, liked: bool) -> int:
    """Add a user to those who like a post, or take them away; return how many there are.

    Raises NOT_FOUND when the post has just been deleted.
    """
    user_id = user.user_id
    with database.atomic():
        if liked:
            new = PostLike.insert(post=post.number, user_id=user_id, created_at=clock.now())
            change = new.on_conflict_ignore().as_rowcount().execute()
        else:
            mine = (PostLike.post == post.number, PostLike.user_id == user_id)
            change = -PostLike.delete().where(*mine).execute()
        if change:
            is_there = (Post.number == post.number, Post.deleted_at.is_null())
            if not Post.update(like_count=Post.like_count + change).where(*is_there).execute():
                raise Problem("NOT_FOUND")
            about = {"id": post.id, "title": post.title, "authorId": post.author_id}
            feed.publish(
                "post.liked" if liked else "post.unliked",
                post.id,
                about | {"userId": user_id, "userName": user.name},
            )
        return int(Post.select(Post.like_count).where(Post.number == post.number).scalar())
