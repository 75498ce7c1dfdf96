"""What comes in and goes out; hot answers are made from rows by hand, which a test holds equal to the schemas."""

from typing import Any

import marshmallow as ma

from services.posts import text
from services.posts.models import DELETED, DRAFT, HIDDEN, PUBLISHED, STATUSES, VISIBLE, Category, Post, Tag
from services.posts.slugs import MAX_LENGTH as MAX_SLUG
from shared.database.pagination import PageQuerySchema
from shared.ids import is_id
from shared.web.request_parser import Wire
from shared.web.schema import SOMETIMES, AnswerSchema, Boolean, List, Schema, Text, Timestamp

MAX_TAGS = 20
MAX_COMMENT = 5000  # characters
RELEVANCE, NEWEST = "relevance", "newest"
SORTS = (NEWEST, "oldest", "title", "views", "likes", RELEVANCE)


class Content(Text):
    """A text that is stored as written; spaces around it do not count for its least length."""

    def __init__(self, *, low: int, high: int, **options: Any):
        def check(value: str) -> None:
            if len(value.strip()) < low:
                raise ma.ValidationError(f"Must have at least {low} characters besides spaces around them.")

        super().__init__(high=high, verbatim=True, lines=True, validate=[check], metadata={"minLength": low}, **options)


class Id(ma.fields.String):
    """An id of something."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        given: str = super()._deserialize(value, attr, data, **kwargs)
        if not is_id(given):
            raise ma.ValidationError("Not an id.")
        return given


class Flag(Boolean):
    """A boolean of a query, where 1 and 0 are good as well."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        plain = {"1": Wire("true"), "0": Wire("false")}.get(value, value)
        return super()._deserialize(plain, attr, data, **kwargs)


class _PostInputSchema(Schema):
    """What may be written; without a key of its own, so that each use says what it needs."""

    title = Text(low=3, high=Post.title.max_length, required=True)
    content = Content(low=10, high=100_000, required=True)
    excerpt = Text(high=Post.excerpt.max_length, lines=True, allow_none=True, load_default=None)
    tags = List(Text(low=1, high=Tag.name.max_length), high=MAX_TAGS, load_default=list)
    category = Text(
        high=MAX_SLUG, allow_none=True, load_default=None, metadata={"description": "A slug.", "example": None}
    )
    cover_image = Id(allow_none=True, load_default=None, metadata={"example": None})

    @ma.post_load
    def _tidy(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        for name in data.keys() & {"excerpt", "category"}:
            data[name] = data[name] or None
        if "tags" in data:  # the first of those that differ only in case stays, where it is
            first: dict[str, str] = {}
            for name in data["tags"]:
                first.setdefault(text.fold(name), name)
            data["tags"] = list(first.values())
        return data


class PostCreateSchema(_PostInputSchema):
    """The body of POST."""

    status = ma.fields.String(validate=ma.validate.OneOf((DRAFT, PUBLISHED)), load_default=DRAFT)


class PostReplaceSchema(_PostInputSchema):
    """The body of PUT; what is left out is cleared."""

    status = ma.fields.String(validate=ma.validate.OneOf(STATUSES), required=True)


class PostChangeSchema(PostReplaceSchema):
    """The body of PATCH; what is left out stays."""

    def __init__(self, **options: Any):
        super().__init__(partial=True, **options)


class PostQuerySchema(PageQuerySchema):
    """The query of the list of posts."""

    status = ma.fields.String(validate=ma.validate.OneOf(STATUSES), load_default=PUBLISHED)
    author = Text(high=50)
    tag = List(Text(low=1, high=Tag.name.max_length), high=MAX_TAGS, load_default=list)
    category = Text(high=MAX_SLUG)
    q = Text(high=200)
    sort = ma.fields.String(validate=ma.validate.OneOf(SORTS))
    highlight = Flag(load_default=False)

    @ma.validates_schema
    def _what_goes_together(self, data: dict[str, Any], **kwargs: Any) -> None:
        if "q" in data and data["status"] != PUBLISHED:
            raise ma.ValidationError("Finds published posts only.", "q")
        for name, wanted in (("sort", data.get("sort") == RELEVANCE), ("highlight", data["highlight"])):
            if wanted and "q" not in data:
                raise ma.ValidationError("Needs q.", name)


class CommentCreateSchema(Schema):
    """The body of a comment."""

    content = Content(low=1, high=MAX_COMMENT, required=True)
    parent_id = Id(allow_none=True, load_default=None, metadata={"example": None})


class CommentChangeSchema(Schema):
    """The body of PATCH; moderators change the status."""

    content = Content(low=1, high=MAX_COMMENT)
    status = ma.fields.String(validate=ma.validate.OneOf((VISIBLE, HIDDEN)))


class CommentQuerySchema(PageQuerySchema):
    """The query of the comments on a post; with `tree=1` replies stand in what they answer."""

    tree = Flag(load_default=False)


class HiddenQuerySchema(PageQuerySchema):
    """The query of the moderators' queue."""

    status = ma.fields.String(validate=ma.validate.OneOf((HIDDEN, VISIBLE, DELETED)), load_default=HIDDEN)


class AuthorSchema(AnswerSchema):
    """Who wrote something."""

    id = ma.fields.String()
    name = ma.fields.String()
    avatar = ma.fields.String(allow_none=True)


class CategorySchema(AnswerSchema):
    """The category of a post."""

    id = ma.fields.String()
    name = ma.fields.String()
    slug = ma.fields.String()


class CategoryItemSchema(CategorySchema):
    """A category in the list of them."""

    post_count = ma.fields.Integer()


class CategoryCreateSchema(Schema):
    """The body of a new category."""

    name = Text(low=1, high=Category.name.max_length, required=True)


class CategoryChangeSchema(CategoryCreateSchema):
    """The body of PATCH."""

    def __init__(self, **options: Any):
        super().__init__(partial=True, **options)


class TagSchema(AnswerSchema):
    """A tag as it was first written."""

    name = ma.fields.String()
    post_count = ma.fields.Integer()


class ImageSchema(AnswerSchema):
    """An uploaded image."""

    id = ma.fields.String()
    url = ma.fields.String(metadata={"format": "uri"})


class HighlightSchema(AnswerSchema):
    """Where a search found its words: HTML, escaped but for `<mark>`."""

    title = ma.fields.String()
    content = ma.fields.String()


class PostItemSchema(AnswerSchema):
    """A post in a list."""

    id = ma.fields.String()
    title = ma.fields.String()
    slug = ma.fields.String()
    excerpt = ma.fields.String()
    status = ma.fields.String(validate=ma.validate.OneOf(STATUSES))
    author = ma.fields.Nested(AuthorSchema)
    category = ma.fields.Nested(CategorySchema, allow_none=True)
    tags = ma.fields.List(ma.fields.String())
    cover_image = ma.fields.Nested(ImageSchema, allow_none=True)
    views = ma.fields.Integer()
    like_count = ma.fields.Integer()
    comment_count = ma.fields.Integer()
    published_at = Timestamp(allow_none=True)
    created_at = Timestamp()
    updated_at = Timestamp()
    highlight = ma.fields.Nested(
        HighlightSchema, metadata=SOMETIMES | {"description": "Only with `q` and `highlight=true`."}
    )


class PostSchema(PostItemSchema):
    """A post."""

    content = ma.fields.String()


class LikeSchema(AnswerSchema):
    """Whether the caller likes a post, and how many do."""

    liked = ma.fields.Boolean()
    like_count = ma.fields.Integer()


class CommentSchema(AnswerSchema):
    """A comment on a post; `depth` is 1 for one that answers no other.

    Author and content are null when it is deleted and, but for its writer and moderators, when it is hidden.
    """

    id = ma.fields.String()
    post_id = ma.fields.String()
    parent_id = ma.fields.String(allow_none=True)
    depth = ma.fields.Integer()
    author = ma.fields.Nested(AuthorSchema, allow_none=True)
    content = ma.fields.String(allow_none=True)
    status = ma.fields.String(validate=ma.validate.OneOf((VISIBLE, HIDDEN, DELETED)))
    created_at = Timestamp()
    updated_at = Timestamp()
    replies = ma.fields.List(
        ma.fields.Nested(lambda: CommentSchema()), metadata=SOMETIMES | {"description": "Only with `tree=1`."}
    )
