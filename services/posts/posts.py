"""Write posts: each in a transaction, in which the database decides on slugs, counts and locks.

Rows are always locked in the same order (author, post, tags, category, total), so that writers cannot block each other.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import peewee

from services.posts import slugs, text
from services.posts.counters import CountTargets, count, count_tags, count_targets, names
from services.posts.models import (
    DRAFT,
    KEY_LENGTH,
    PUBLISHED,
    Author,
    Category,
    Post,
    PostContent,
    PostTag,
    database,
    feed,
)
from services.posts.search import index, tokenizer
from shared import clock
from shared.database.connection import execute, is_postgres
from shared.database.locking import locking
from shared.identity.claims import Claims
from shared.problems import Problem

_SEARCHED = {"title", "content", "tags", "category", "status"}  # what the index of search holds or follows
_NO_SLUG = "No free address was found for this title; try again."


def create_post(claims: Claims, data: dict[str, Any], at: datetime | None = None) -> str:
    """Write a post as of a moment, or now, inside a transaction, and return its id."""
    now = at or clock.now()
    Author.lock_or_add(claims.user_id, claims.name)
    post = Post(
        author=claims.user_id,
        category=category_id(data["category"]),
        title=data["title"],
        title_key=title_key(data["title"]),
        status=data["status"],
        cover_image=data["cover_image"],
        tags=data["tags"],
        created_at=now,
        updated_at=now,
    )
    _set_published(post, now)
    _set_excerpt(post, data["excerpt"], data["content"])
    _insert(post)
    execute(database, "INSERT INTO post_content (post_id, content) VALUES (?, ?)", (post.number, data["content"]))
    _index(post, data["content"], _set_tags(post, CountTargets()))
    count(CountTargets(), count_targets(post))
    if post.published_at:
        _publish_change(post, first=True, was_listed=False)
    return str(post.id)


def locked_post(post_id: str, *, deleted: bool = False) -> Post | None:
    """Return the post for a change: nobody else changes it before the transaction ends."""
    query = Post.select().where(Post.id == post_id, Post.deleted_at.is_null(not deleted))
    post: Post | None = locking(query).first()
    return post


def fields_of(post: Post) -> dict[str, Any]:
    """Return what a client can write, as it would write it."""
    return {
        "title": post.title,
        "content": PostContent.select(PostContent.content).where(PostContent.post == post).scalar(),
        "excerpt": post.excerpt if post.excerpt_is_own else None,
        "status": post.status,
        "tags": post.tags,
        "category": post.category.slug if post.category and not post.category.deleted_at else None,
        "cover_image": post.cover_image,
    }


def change_post(post: Post, current: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Change a locked post to what is wanted; what is equal already changes nothing, not even the version."""
    changes = {name: value for name, value in wanted.items() if current[name] != value}
    if not changes:
        return
    new, now = current | changes, clock.now()
    had_title, was_published, before = post.title, post.published_at, count_targets(post)
    if "category" in changes:
        post.category_id = category_id(new["category"])
    post.title, post.status, post.cover_image = new["title"], new["status"], new["cover_image"]
    post.title_key, post.tags = title_key(post.title), new["tags"]
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
    if "tags" in changes or count_targets(post).listed != before.listed:
        PostTag.delete().where(PostTag.post == post).execute()
        _set_tags(post, before)
    if post.publication and (changes.keys() & _SEARCHED):
        index.remove(post.publication)
        _index(post, new["content"], _tags(post))
    count(before, count_targets(post))
    if post.published_at:
        _publish_change(post, first=not was_published, was_listed=bool(before.listed))


def delete_post(post: Post) -> None:
    """Delete a locked post softly, and free its slug."""
    before = count_targets(post)
    post.slug = f"{post.slug}{slugs.DELETED_MARK}{post.number}"
    post.deleted_at = clock.now()
    post.listed_at = None
    post.version += 1
    post.save()
    PostTag.update(listed_at=None).where(PostTag.post == post).execute()
    if post.publication:
        index.remove(post.publication)
    count_tags(before, CountTargets(), {})
    count(before, CountTargets())
    if post.published_at:
        about = {"id": post.id, "authorId": post.author_id, "wasListed": bool(before.listed)}
        feed.publish("post.deleted", post.id, about)


def restore_post(post: Post) -> None:
    """Bring a locked post back under its former slug, or one like it if that has been taken."""
    post.deleted_at = None
    post.version += 1
    _set_published(post, clock.now())
    _with_free_slug(post, post.save, post.slug.rpartition(slugs.DELETED_MARK)[0])
    PostTag.update(listed_at=post.listed_at).where(PostTag.post == post).execute()
    _index(post, PostContent.get_by_id(post.number).content, _tags(post))
    count_tags(CountTargets(), count_targets(post), {})
    count(CountTargets(), count_targets(post))
    if post.published_at:
        _publish_change(post, was_listed=False)


def delete_drafts(author_id: str) -> None:
    """Delete the drafts of a deleted user softly, and free their slugs."""
    drafts = (Post.author == author_id) & (Post.status == DRAFT) & Post.deleted_at.is_null()
    lock_posts(drafts)
    Post.update(
        slug=Post.slug.concat(slugs.DELETED_MARK).concat(Post.number.cast("text")), deleted_at=clock.now()
    ).where(drafts).execute()


def remove_cover(upload_id: str) -> None:
    """Take an image that is no more from all posts, deleted ones too; it is an edit of each."""
    lock_posts(Post.cover_image == upload_id)
    uncovered: Any = Post.update(cover_image=None, version=Post.version + 1).where(Post.cover_image == upload_id)
    for post in list(uncovered.returning(Post).execute()):
        if post.published_at and not post.deleted_at:
            _publish_change(post, was_listed=post.listed_at is not None)


def lock_posts(condition: Any) -> None:
    """Lock several posts, in the one order that whoever locks several keeps."""
    if is_postgres(database):
        Post.select(Post.number).where(condition).order_by(Post.number).for_update().execute()


def title_key(title: str) -> str:
    """Return what of a title decides its place in a list."""
    return tokenizer.sort_key(title)[:KEY_LENGTH]


_COLUMNS = [field for field in Post._meta.sorted_fields if field is not Post.number]
_INSERT = f"""INSERT INTO post ({", ".join(field.column_name for field in _COLUMNS)})
    VALUES ({", ".join("?" * len(_COLUMNS))}) ON CONFLICT (slug) DO NOTHING RETURNING number"""  # noqa: S608 (own names)


def _insert(post: Post) -> None:
    """Write a new post under the first slug of its title that is free."""
    known = post.__data__
    for slug in slugs.candidates(post.title):
        known["slug"] = slug
        values = [None if (value := known.get(field.name)) is None else field.db_value(value) for field in _COLUMNS]
        if row := execute(database, _INSERT, values).fetchone():
            post.number = row[0]
            return
    raise Problem("CONFLICT", _NO_SLUG)


def _with_free_slug(post: Post, write: Callable[[], object], *former: str) -> None:
    """Write the post under its former slug or the first of its title that the unique index accepts."""
    for slug in (*former, *slugs.candidates(post.title)):
        post.slug = slug
        try:
            with database.atomic():
                write()
            return
        except peewee.IntegrityError as error:
            if "slug" not in str(error):
                raise
    raise Problem("CONFLICT", _NO_SLUG)


def category_id(slug: str | None) -> str | None:
    """Return the id of the category of that slug, None for none; raise VALIDATION_ERROR where there is none."""
    if not slug:
        return None
    category: Category | None = Category.id_of(slug).first()
    if category is None:
        raise Problem("VALIDATION_ERROR", errors={"category": ["Is no category."]})
    return str(category.id)


def _tags(post: Post) -> list[int]:
    tags: Any = PostTag.select(PostTag.tag).where(PostTag.post == post).tuples()
    return [tag for (tag,) in tags]


def _set_excerpt(post: Post, own: str | None, content: str) -> None:
    post.excerpt_is_own = own is not None
    post.excerpt = text.excerpt(content) if own is None else own


def _set_published(post: Post, now: datetime) -> None:
    """Note when the post was first published, and list it while it is."""
    if post.status == PUBLISHED:
        post.published_at = post.published_at or now
        post.publication = post.publication or index.next_publication()
    post.listed_at = post.published_at if post.status == PUBLISHED else None


def _set_tags(post: Post, before: CountTargets) -> list[int]:
    """Give a post without tags those that are written in it, and return their ids."""
    ids = count_tags(before, count_targets(post), names(post))
    if ids:
        listed = post.listed_at and clock.rfc3339(post.listed_at)
        rows = ", ".join(["(?, ?, ?)"] * len(ids))
        values = [value for tag in ids for value in (post.number, tag, listed)]
        execute(database, f"INSERT INTO post_tag (post_id, tag_id, listed_at) VALUES {rows}", values)  # noqa: S608
    return ids


def _index(post: Post, content: str, tags: list[int]) -> None:
    """Add a listed post to the search index."""
    if post.listed_at and post.publication:
        labels: list[tuple[str, str | int]] = [(index.AUTHOR_ID, post.author_id)]
        labels += [(index.TAG_ID, tag) for tag in tags]
        if post.category_id:
            labels.append((index.CATEGORY_ID, post.category_id))
        found_by = index.lexemes(post.publication, post.title, post.tags, content, labels)
        index.put(post.publication, found_by)


def _publish_change(post: Post, *, first: bool = False, was_listed: bool) -> None:
    """Publish the feed event of a change of a post that has been published before."""
    seen = {"listed": post.listed_at is not None, "wasListed": was_listed}
    feed.publish("post.published" if first else "post.updated", post.id, _fact(post) | ({} if first else seen))


def _fact(post: Post) -> dict[str, Any]:
    return {
        "id": post.id,
        "slug": post.slug,
        "title": post.title,
        "authorId": post.author_id,
        "publishedAt": post.published_at and clock.rfc3339(post.published_at),
    }
