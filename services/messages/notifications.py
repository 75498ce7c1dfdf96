"""Make notifications of facts, each once, however often it is read: their key is unique for its user.

Every function is called inside the transaction that moves the position in the feed.
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
    know(fact)
    _notify(fact["subject"], WELCOME, WELCOME, fact)


def know(fact: Fact) -> None:
    """Keep the name and the picture of a user."""
    data = fact["data"]
    Person.remember(fact["subject"], data["name"], data.get("avatar"), _moment(fact))


def tell_role(fact: Fact) -> None:
    """Tell a user of their new role, unless they gave it to themselves."""
    if fact["data"].get("actorId") != fact["subject"]:
        _notify(fact["subject"], ROLE, f"role:{fact['id']}", fact, role=fact["data"]["role"])


def forget_user(fact: Fact) -> None:
    """Take along what a deleted user was told, and what others were told of them."""
    user_id = fact["subject"]
    Person.forget(user_id)
    liked = Liker.select(Liker.post_id).where(Liker.user_id == user_id, Liker.likes)
    Notification.update(likes=Notification.likes - 1).where(_like, Notification.post_id.in_(liked)).execute()
    Liker.delete().where(Liker.user_id == user_id).execute()
    _name_latest_liker(Notification.actor_id == user_id)
    named = (Notification.actor_id == user_id) & ~_like
    own_likes = Notification.select(Notification.post_id).where(Notification.user_id == user_id, _like)
    Liker.delete().where(Liker.post_id.in_(own_likes)).execute()
    Notification.delete().where((Notification.user_id == user_id) | named).execute()
    event_log.forget(user_id)


def tell_comment(fact: Fact) -> None:
    """Tell the author of the post of a comment, and who is answered of a reply; once, and nobody of their own."""
    data = fact["data"]
    author = data["authorId"]
    recipients = {data["postAuthorId"]: COMMENT, data["parentAuthorId"]: REPLY}
    Person.introduce(author, data.get("authorName"))
    for user_id, type in recipients.items():
        if user_id and user_id != author:
            about = {"actor_id": author, "comment_id": data["id"]}
            about |= {"post_id": data["postId"], "post_title": data.get("postTitle")}
            _notify(user_id, type, f"comment:{data['id']}", fact, **about)


def withdraw_comment(fact: Fact) -> None:
    """Take along what users were told of a comment that is hidden or deleted."""
    Notification.delete().where(Notification.comment_id == fact["subject"]).execute()
    event_log.withdraw_told(fact["subject"])


def tell_like(fact: Fact) -> None:
    """Add a like to those of the post; the first of each user makes the notification new again."""
    data = fact["data"]
    owner, user_id, post_id = data["authorId"], data["userId"], data["id"]
    if user_id == owner or Person.are_gone(owner, user_id):
        return
    Person.introduce(user_id, data.get("userName"))
    first, changed = Liker.add(post_id, user_id, _moment(fact))
    if first:
        about = {"actor_id": user_id, "post_id": post_id, "post_title": data.get("title"), "likes": 0}
        _notify(owner, LIKE, f"like:{post_id}", fact, **about)
        news = {"actor_id": user_id, "read": False, "created_at": _moment(fact), "version": Notification.version + 1}
        _update_likes(post_id, 1, **news)
        _tell_live(owner, f"like:{post_id}")
    elif changed:
        _update_likes(post_id, 1)
        _name_latest_liker(Notification.post_id == post_id)


def take_like_back(fact: Fact) -> None:
    data = fact["data"]
    if Liker.remove(data["id"], data["userId"]):
        _update_likes(data["id"], -1)
        _name_latest_liker(Notification.post_id == data["id"])


def rename_post(fact: Fact) -> None:
    """Keep the title of a post that everybody may see; that of a draft is nobody's business."""
    if fact["data"].get("listed"):
        title = fact["data"]["title"]
        Notification.update(post_title=title).where(Notification.post_id == fact["subject"]).execute()


def forget_post(fact: Fact) -> None:
    """Take along what users were told of a deleted post."""
    Notification.delete().where(Notification.post_id == fact["subject"]).execute()
    Liker.delete().where(Liker.post_id == fact["subject"]).execute()
    event_log.withdraw_told(fact["subject"])


def forget_posts() -> None:
    """Forget what users were told of any post."""
    Notification.delete().where(Notification.post_id.is_null(False)).execute()
    Liker.delete().execute()


def _notify(user_id: str, type: str, key: str, fact: Fact, **about: Any) -> None:
    """Add a notification, unless the fact has become one, or one of those whom it is about is gone."""
    named = [about["actor_id"]] if "actor_id" in about else []
    if not Person.are_gone(user_id, *named):
        row = Notification.insert(user_id=user_id, type=type, key=key, created_at=_moment(fact), **about)
        if row.on_conflict_ignore().as_rowcount().execute():
            _tell_live(user_id, key)


def _tell_live(user_id: str, key: str) -> None:
    """Tell a notification on the streams of its owner too."""
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


def _name_latest_liker(which: peewee.Expression) -> None:
    latest = (
        Liker.select(Liker.user_id)
        .where(Liker.post_id == Notification.post_id, Liker.likes)
        .order_by(Liker.liked_at.desc())
        .limit(1)
    )
    Notification.update(actor_id=latest).where(_like, which).execute()


def _moment(fact: Fact) -> datetime:
    return datetime.fromisoformat(fact["time"])
