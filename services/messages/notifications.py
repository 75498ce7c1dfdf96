"""The handlers of facts that create, change and delete notifications; they are idempotent.

They run inside the transaction that moves the position in the feed.
"""

from datetime import datetime
from typing import Any

import peewee

from services.messages.live_events import event_log
from services.messages.live_events.public_events import NOTIFICATION
from services.messages.models import COMMENT, LIKE, REPLY, ROLE, WELCOME, Liker, Notification, Person
from services.messages.schemas import notification_item

Fact = dict[str, Any]  # a CloudEvent
_like = Notification.type == LIKE


def welcome(fact: Fact) -> None:
    store_person(fact)
    _notify(fact["subject"], WELCOME, WELCOME, fact)


def store_person(fact: Fact) -> None:
    """Store name and avatar of a user."""
    data = fact["data"]
    Person.upsert(fact["subject"], data["name"], data.get("avatar"), _moment(fact))


def notify_role(fact: Fact) -> None:
    """Notify a user of a new role, unless they set it themselves."""
    if fact["data"].get("actorId") != fact["subject"]:
        _notify(fact["subject"], ROLE, f"role:{fact['id']}", fact, role=fact["data"]["role"])


def delete_user(fact: Fact) -> None:
    """Delete the notifications for a deleted user, and those about them."""
    user_id = fact["subject"]
    Person.mark_deleted(user_id)
    liked = Liker.select(Liker.post_id).where(Liker.user_id == user_id, Liker.likes)
    Notification.update(likes=Notification.likes - 1).where(_like, Notification.post_id.in_(liked)).execute()
    Liker.delete().where(Liker.user_id == user_id).execute()
    _set_latest_liker(Notification.actor_id == user_id)
    named = (Notification.actor_id == user_id) & ~_like
    own_likes = Notification.select(Notification.post_id).where(Notification.user_id == user_id, _like)
    Liker.delete().where(Liker.post_id.in_(own_likes)).execute()
    Notification.delete().where((Notification.user_id == user_id) | named).execute()
    event_log.delete_user(user_id)


def notify_comment(fact: Fact) -> None:
    """Notify the author of the post, and of a reply the author of the parent comment; never the comment's own author.

    A user that is both gets one notification, of the reply.
    """
    data = fact["data"]
    author = data["authorId"]
    recipients = {data["postAuthorId"]: COMMENT, data["parentAuthorId"]: REPLY}
    Person.add_if_missing(author, data.get("authorName"))
    for user_id, type in recipients.items():
        if user_id and user_id != author:
            about = {"actor_id": author, "comment_id": data["id"]}
            about |= {"post_id": data["postId"], "post_title": data.get("postTitle")}
            _notify(user_id, type, f"comment:{data['id']}", fact, **about)


def remove_comment(fact: Fact) -> None:
    """Delete the notifications about a comment that is hidden or deleted."""
    Notification.delete().where(Notification.comment_id == fact["subject"]).execute()
    event_log.delete_private_about(fact["subject"])


def notify_like(fact: Fact) -> None:
    """Add a like to the notification of the post; the first like of each user makes it new and unread again."""
    data = fact["data"]
    owner, user_id, post_id = data["authorId"], data["userId"], data["id"]
    if user_id == owner or Person.any_deleted(owner, user_id):
        return
    Person.add_if_missing(user_id, data.get("userName"))
    first, changed = Liker.add(post_id, user_id, _moment(fact))
    if first:
        about = {"actor_id": user_id, "post_id": post_id, "post_title": data.get("title"), "likes": 0}
        _notify(owner, LIKE, f"like:{post_id}", fact, **about)
        news = {"actor_id": user_id, "read": False, "created_at": _moment(fact), "version": Notification.version + 1}
        _update_likes(post_id, 1, **news)
        _append_event(owner, f"like:{post_id}")
    elif changed:
        _update_likes(post_id, 1)
        _set_latest_liker(Notification.post_id == post_id)


def remove_like(fact: Fact) -> None:
    data = fact["data"]
    if Liker.remove(data["id"], data["userId"]):
        _update_likes(data["id"], -1)
        _set_latest_liker(Notification.post_id == data["id"])


def update_post_title(fact: Fact) -> None:
    """Update the title in the notifications about a post, unless it is a draft now."""
    if fact["data"].get("listed"):
        title = fact["data"]["title"]
        Notification.update(post_title=title).where(Notification.post_id == fact["subject"]).execute()


def remove_post(fact: Fact) -> None:
    """Delete the notifications about a deleted post."""
    Notification.delete().where(Notification.post_id == fact["subject"]).execute()
    Liker.delete().where(Liker.post_id == fact["subject"]).execute()
    event_log.delete_private_about(fact["subject"])


def remove_all_posts() -> None:
    """Delete the notifications about all posts."""
    Notification.delete().where(Notification.post_id.is_null(False)).execute()
    Liker.delete().execute()


def _notify(user_id: str, type: str, key: str, fact: Fact, **about: Any) -> None:
    """Insert a notification, unless it exists or its user or actor is deleted."""
    named = [about["actor_id"]] if "actor_id" in about else []
    if not Person.any_deleted(user_id, *named):
        row = Notification.insert(user_id=user_id, type=type, key=key, created_at=_moment(fact), **about)
        if row.on_conflict_ignore().as_rowcount().execute():
            _append_event(user_id, key)


def _append_event(user_id: str, key: str) -> None:
    """Append the notification to the log of live events, for its owner only."""
    if row := Notification.of(user_id).where(Notification.key == key).first():
        subject = row.comment_id or row.id
        item = notification_item(row)
        event_log.append(
            NOTIFICATION, item, subject=subject, post_id=row.post_id, user_id=user_id, moment=row.created_at
        )


def _update_likes(post_id: str, change: int, **news: Any) -> None:
    Notification.update(likes=Notification.likes + change, **news).where(
        _like, Notification.post_id == post_id
    ).execute()


def _set_latest_liker(which: peewee.Expression) -> None:
    latest = (
        Liker.select(Liker.user_id)
        .where(Liker.post_id == Notification.post_id, Liker.likes)
        .order_by(Liker.liked_at.desc())
        .limit(1)
    )
    Notification.update(actor_id=latest).where(_like, which).execute()


def _moment(fact: Fact) -> datetime:
    return datetime.fromisoformat(fact["time"])
