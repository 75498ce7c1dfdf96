"""What comes in and goes out."""

from typing import Any

import marshmallow as ma

from services.uploads.imaging.variant_spec import FITS, FORMATS, MAX_SIDE
from services.uploads.signed_urls import LONGEST
from shared.web.schema import SOMETIMES, AnswerSchema, Boolean, Integer, List, Schema, Text, Timestamp

MAX_FILENAME = 255
MAX_FILES = 10  # of one request


class Switch(ma.fields.Boolean):
    """A yes or no in a form or in Upload-Metadata, in every way that clients write it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(truthy={"on", "true", "1", "yes"}, falsy={"off", "false", "0", "no", ""}, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        return super()._deserialize(value.strip().lower(), attr, data, **kwargs)


class UploadFormSchema(Schema):
    """The parts of the form; of `file` only its name, the bytes are on the disk."""

    file = Text(low=1, high=MAX_FILENAME, required=True)
    private = Switch(load_default=False)


class UploadsFormSchema(Schema):
    """The parts of the form of several files; `private` is for all of them."""

    files = List(Text(low=1, high=MAX_FILENAME), high=MAX_FILES, required=True)
    private = Switch(load_default=False)


class ResumableSchema(Schema):
    """What Upload-Metadata says of the file; all else in it is the client's."""

    filename = Text(low=1, high=MAX_FILENAME, required=True)
    private = Switch(load_default=False)


class UploadPatchSchema(Schema):
    """What can be changed of an upload."""

    private = Boolean(required=True)


class SignSchema(Schema):
    """For how many seconds a link is to hold."""

    expires_in = Integer(low=1, high=int(LONGEST.total_seconds()), required=True)


class SignedUrlSchema(AnswerSchema):
    """A link that shows a private file to whoever has it."""

    url = ma.fields.String()


class UploadSchema(AnswerSchema):
    """An upload; `size` in bytes and `sha256` are of the stored bytes, width and height are an image's only."""

    id = ma.fields.String()
    url = ma.fields.String()
    path = ma.fields.String()
    filename = ma.fields.String()
    size = ma.fields.Integer()
    mime_type = ma.fields.String()
    sha256 = ma.fields.String()
    width = ma.fields.Integer(metadata=SOMETIMES)
    height = ma.fields.Integer(metadata=SOMETIMES)
    private = ma.fields.Boolean()
    user_id = ma.fields.String()
    created_at = Timestamp()

    @ma.post_dump
    def _leave_out_what_a_pdf_lacks(self, data: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {key: value for key, value in data.items() if value is not None}


class FileQuerySchema(Schema):
    """The query of a download; `download=1` asks the browser to save what it could show.

    `expires` and `signature` are those of a signed link; all else asks for another picture of an image.
    """

    w = Integer(low=1, high=MAX_SIDE)
    h = Integer(low=1, high=MAX_SIDE)
    fit = ma.fields.String(validate=ma.validate.OneOf(FITS))
    format = ma.fields.String(validate=ma.validate.OneOf(list(FORMATS)))
    download = ma.fields.String(validate=ma.validate.OneOf(["1"]))
    expires = ma.fields.String()
    signature = ma.fields.String()


class FileWriteQuerySchema(Schema):
    """The query of a file that is sent; without `private` a new one is public, and one that is replaced stays so."""

    private = Boolean()
