"""Tables of the posts service.

Rows that are many refer to a post by its number, which is short and grows with time; the public id is a UUIDv7.
What lists sort by stands in one index each: `listed_at` is `published_at` while the post is to be seen by all,
else NULL, and is repeated in `post_tag`, so that a page costs the same at any size of the table.
"""

from datetime import datetime
from typing import Any

import orjson
import peewee

from services.posts import slugs
from services.posts.search import tokenizer
from shared.database.connection import Database, execute
from shared.database.fields import IdField, TimestampField
from shared.database.idempotency import Idempotency, IdempotencyKeyColumns
from shared.database.tables import own_table
from shared.feed.outbox import FactColumns, Feed, FeedPositionColumns
from shared.ids import new_id
from shared.problems import Problem

DRAFT, PUBLISHED, ARCHIVED = "draft", "published", "archived"
STATUSES = (DRAFT, PUBLISHED, ARCHIVED)
KEY_LENGTH = 64
VISIBLE, HIDDEN, DELETED = "visible", "hidden", "deleted"  # what a comment is
DELETED_USER_NAME = "deleted user"

database = Database()


class Model(peewee.Model):
    """A table of this service."""

    class Meta:
        database = database
        legacy_table_names = False


Fact = own_table(FactColumns, database)
FeedPosition = own_table(FeedPositionColumns, database)
IdempotencyKey = own_table(IdempotencyKeyColumns, database)
feed = Feed("posts", Fact, database)
idempotency = Idempotency(IdempotencyKey, database)


class TagsField(peewee.TextField):
    """A list of names, stored as JSON. Lists read the text under another name, since responses contain it unchanged."""

    def db_value(self, value: list[str]) -> str:
        return orjson.dumps(value).decode()

    def python_value(self, value: str) -> list[str]:
        return list(orjson.loads(value))


class Counter(Model):
    """A stored total; counting the rows would read the whole table."""

    name = peewee.CharField(max_length=32, primary_key=True)
    value = peewee.BigIntegerField(default=0)

    @classmethod
    def add_listed_posts(cls, amount: int) -> None:
        if amount:
            execute(database, "UPDATE counter SET value = value + ? WHERE name = 'listed posts'", (amount,))

    @classmethod
    def listed_posts(cls) -> int:
        return int(database.execute_sql("SELECT value FROM counter WHERE name = 'listed posts'").fetchone()[0])


class Author(Model):
    """Who writes; `told_at` is the time of auth's last word on the name, NULL while only a token named it."""

    id = IdField(primary_key=True)
    name = peewee.CharField(max_length=200)
    folded = peewee.TextField()
    avatar = peewee.TextField(null=True)
    deleted = peewee.BooleanField(default=False)
    told_at = TimestampField(null=True)

    @classmethod
    def lock_or_add(cls, user_id: str, name: str) -> None:
        """Lock an author; add one of whom auth's feed has not told yet, and raise TOKEN_REVOKED for a deleted one."""
        insert = """INSERT INTO author (id, name, folded, deleted) VALUES (?, ?, ?, false)
            ON CONFLICT (id) DO UPDATE SET deleted = author.deleted WHERE author.deleted RETURNING deleted"""
        row = execute(database, insert, (user_id, name, tokenizer.fold(name))).fetchone()
        if row and row[0]:
            raise Problem("TOKEN_REVOKED")

    @classmethod
    def upsert(cls, user_id: str, name: str, avatar: str | None, moment: datetime) -> None:
        """Store name and avatar as of that moment, unless newer ones are stored."""
        known = {"name": name, "folded": tokenizer.fold(name), "avatar": avatar, "told_at": moment}
        is_news = cls.told_at.is_null() | (cls.told_at <= moment)
        cls.insert(id=user_id, **known).on_conflict(
            conflict_target=[cls.id], update=known, where=is_news & ~cls.deleted
        ).execute()

    @classmethod
    def existing_ids(cls, after: str, last: str) -> set[str]:
        """Return the authors with ids in this range who are not deleted."""
        rows: Any = cls.select(cls.id).where(cls.id > after, cls.id <= last, ~cls.deleted).tuples()
        return {user_id for (user_id,) in rows}

    @classmethod
    def anonymize(cls, user_id: str) -> None:
        """Delete the user's data but the id, which posts and comments refer to."""
        nothing = {"name": DELETED_USER_NAME, "folded": "", "avatar": None, "deleted": True}
        cls.insert(id=user_id, **nothing).on_conflict(conflict_target=[cls.id], update=nothing).execute()


class Category(Model):
    """Where posts belong; `post_count` is of those that all may see. A deleted one stays while posts refer to it."""

    id = IdField(primary_key=True, default=new_id)
    name = peewee.CharField(max_length=50)
    folded = peewee.TextField(unique=True)
    slug = peewee.CharField(max_length=slugs.MAX_LENGTH, unique=True)
    post_count = peewee.IntegerField(default=0)
    version = peewee.IntegerField(default=1)
    deleted_at = TimestampField(null=True)

    @classmethod
    def existing(cls) -> "peewee.ModelSelect[Category]":
        return cls.select().where(cls.deleted_at.is_null())

    @classmethod
    def id_of(cls, slug: str) -> "peewee.ModelSelect[Category]":
        """Select the id of the category of that slug, in any spelling, first as it is spelled here."""
        spelled = slugs.spellings(slug)
        query = cls.select(cls.id).where(cls.slug.in_(spelled), cls.deleted_at.is_null())
        return query.order_by(cls.slug != slug).limit(1) if len(spelled) > 1 else query

    @classmethod
    def count(cls, category_id: str, change: int) -> None:
        """Count posts more, or fewer."""
        execute(database, "UPDATE category SET post_count = post_count + ? WHERE id = ?", (change, category_id))


class Post(Model):
    """A post without its content, which lists do not need."""

    number = peewee.BigAutoField()
    id = IdField(unique=True, default=new_id)
    author = peewee.ForeignKeyField(Author, index=False)
    author_id: str
    category = peewee.ForeignKeyField(Category, null=True, index=False)
    category_id: str | None
    title = peewee.CharField(max_length=200)
    title_key = peewee.CharField(max_length=KEY_LENGTH, default="")  # what sorting by title looks at
    slug = peewee.CharField(max_length=slugs.MAX_LENGTH, unique=True)
    excerpt = peewee.CharField(max_length=300)
    excerpt_is_own = peewee.BooleanField()
    status = peewee.CharField(max_length=9)
    tags = TagsField()  # as the author wrote them; post_tag is their index
    cover_image = IdField(null=True)
    views = peewee.IntegerField(default=0)
    like_count = peewee.IntegerField(default=0)
    comment_count = peewee.IntegerField(default=0)
    version = peewee.IntegerField(default=1)
    publication = peewee.BigIntegerField(null=True, unique=True)  # counts what was ever published; search finds it
    published_at = TimestampField(null=True)
    listed_at = TimestampField(null=True)
    created_at = TimestampField()
    updated_at = TimestampField()
    deleted_at = TimestampField(null=True)

    class Meta:
        indexes = (
            (("listed_at", "number"), False),
            (("author", "listed_at", "number"), False),
            (("category", "listed_at", "number"), False),
            (("author", "status", "created_at", "number"), False),
        )

    @classmethod
    def covers(cls, after: str, last: str) -> set[str]:
        """Return the cover images with ids in this range."""
        image = cls.cover_image
        rows: Any = cls.select(image).distinct().where(image > after, image <= last).tuples()
        return {upload_id for (upload_id,) in rows}


for _sorted in (Post.title_key, Post.views, Post.like_count):
    Post.add_index(Post.index(_sorted, Post.number, where=Post.listed_at.is_null(False)))
Post.add_index(Post.index(Post.cover_image, where=Post.cover_image.is_null(False)))


class PostContent(Model):
    """The content of a post, apart from what lists show."""

    post = peewee.ForeignKeyField(Post, primary_key=True)
    content = peewee.TextField()


class Tag(Model):
    """A tag, whatever its case; the name is as it was first written, the count of posts that everybody may see."""

    id = peewee.BigAutoField()
    folded = peewee.TextField(unique=True)
    name = peewee.CharField(max_length=50)
    post_count = peewee.IntegerField(default=0)

    class Meta:
        indexes = ((("post_count", "id"), False),)

    @classmethod
    def count(cls, changes: dict[str, int], names: dict[str, str]) -> dict[str, int]:
        """Count posts more, or fewer, for tags in their folded form, which are made where they are new; return the ids.

        `names` are those that new ones get. The rows are locked in the order of the folded forms.
        """
        if not changes:
            return {}
        length = cls.name.max_length  # which PostgreSQL checks even where the tag exists
        rows = [(folded, names.get(folded, folded)[:length], changes[folded]) for folded in sorted(changes)]
        upsert = f"""INSERT INTO tag (folded, name, post_count) VALUES {", ".join(["(?, ?, ?)"] * len(changes))}
            ON CONFLICT (folded) DO UPDATE SET post_count = tag.post_count + excluded.post_count
            RETURNING folded, id"""  # noqa: S608 (own names)
        return dict(execute(database, upsert, [value for row in rows for value in row]).fetchall())


class PostTag(Model):
    """Which posts have a tag, in the order of the lists."""

    post = peewee.ForeignKeyField(Post, index=False)
    tag = peewee.ForeignKeyField(Tag, index=False)
    listed_at = TimestampField(null=True)

    class Meta:
        primary_key = peewee.CompositeKey("post", "tag")
        indexes = ((("tag", "listed_at", "post"), False),)


class PostLike(Model):
    """Who likes what."""

    post = peewee.ForeignKeyField(Post, index=False)
    user_id = IdField()
    created_at = TimestampField()

    class Meta:
        primary_key = peewee.CompositeKey("post", "user_id")


class PostView(Model):
    """A view within the last hour; the viewer is a hash of the user's id or client's address."""

    post = peewee.ForeignKeyField(Post, index=False)
    viewer = peewee.CharField(max_length=32)
    seen_at = TimestampField(index=True)

    class Meta:
        primary_key = peewee.CompositeKey("post", "viewer")


class Comment(Model):
    """What somebody says to a post or, with a parent, to another comment; `depth` is 1 without a parent."""

    number = peewee.BigAutoField()
    id = IdField(unique=True, default=new_id)
    post = peewee.ForeignKeyField(Post, index=False)
    post_id: int
    author = peewee.ForeignKeyField(Author)
    author_id: str
    parent = peewee.ForeignKeyField("self", null=True)
    root = peewee.BigIntegerField(null=True)  # number of the first of the conversation
    depth = peewee.SmallIntegerField()
    content = peewee.TextField()
    status = peewee.CharField(max_length=9, default=VISIBLE)
    version = peewee.IntegerField(default=1)
    created_at = TimestampField()
    updated_at = TimestampField()

    class Meta:
        indexes = (
            (("post", "number"), False),
            (("post", "root", "number"), False),
            (("status", "number"), False),
        )


class CommentTime(Model):
    """When somebody commented within the last minute."""

    id = peewee.BigAutoField()
    user_id = IdField()
    created_at = TimestampField()

    class Meta:
        indexes = ((("user_id", "created_at"), False),)
