"""Schemas and fields: strict about types, camelCase on the wire and snake_case in Python."""

import re
from typing import Any, ClassVar

import marshmallow as ma

from shared.clock import rfc3339
from shared.visible_text import has_visible_character
from shared.web.request_parser import FormWire, Wire

_controls = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_controls_but_lines = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]").search
_is_integer = re.compile(r"-?[0-9]{1,19}").fullmatch


def camel(name: str) -> str:
    """Turn snake_case into camelCase."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Schema(ma.Schema):
    """Refuse unknown keys; every field is camelCase outside. A body that is not `body_required` may be missing."""

    body_required: ClassVar[bool] = True

    class Meta:
        unknown = ma.RAISE

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        field_obj.data_key = field_obj.data_key or camel(field_name)


class AnswerSchema(Schema):
    """A response: OpenAPI lists all fields as required, except those with the metadata SOMETIMES.

    A list of such has its pagination, unless it is not `paginated`, and `beside_list` beside it. Where the members
    depend on `type`, `variants` has the schema for each value of it.
    """

    variants: ClassVar[dict[str, type[Any]]] = {}
    beside_list: ClassVar[dict[str, ma.fields.Field[Any]]] = {}

    def __init__(self, *, paginated: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.paginated = paginated

    def on_bind_field(self, field_name: str, field_obj: ma.fields.Field[Any]) -> None:
        super().on_bind_field(field_name, field_obj)
        field_obj.required = not SOMETIMES.items() <= field_obj.metadata.items()


SOMETIMES = {"optional": True}


class EmptySchema(Schema):
    """A body without content, which may be missing."""

    body_required = False


class Text(ma.fields.String):
    """A string, trimmed before it is measured unless `verbatim`; `lines` allows line breaks and tabs.

    One line that must not be empty, such as a name or a title, needs a visible character too.

    Control characters and lone surrogates are refused: some databases, mails and headers cannot hold them.
    """

    def __init__(self, *, low: int = 0, high: int, verbatim: bool = False, lines: bool = False, **options: Any):
        self._length = ma.validate.Length(low or None, high)
        super().__init__(validate=[self._length, *options.pop("validate", [])], **options)
        self._high = high
        self._verbatim = verbatim
        self._refused = _controls_but_lines if lines else _controls
        self._needs_visible = low > 0 and not (lines or verbatim)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        given: str = super()._deserialize(value, attr, data, **kwargs)
        text = given if self._verbatim else given.strip()
        if len(text) > self._high:  # before anything reads it: to normalize 1 MiB of marks takes minutes
            self._length(text)
        if self._refused(given):
            raise ma.ValidationError("Must not contain control characters.")
        if self._needs_visible and text and not has_visible_character(text):
            raise ma.ValidationError("Must have a visible character.")
        return text


class List(ma.fields.List[Any]):
    """An array of at most `high` items, counted before any of them is parsed."""

    def __init__(self, item: ma.fields.Field[Any], *, high: int, **options: Any):
        super().__init__(item, validate=ma.validate.Length(max=high), **options)
        self._high = high

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[Any]:
        if isinstance(value, list) and len(value) > self._high:
            raise ma.ValidationError(f"Longer than maximum length {self._high}.")
        return super()._deserialize(value, attr, data, **kwargs)


class Integer(ma.fields.Integer):
    """A whole number of at most 64 bits, in JSON without quotes: marshmallow alone takes 1.5, "1_0" and true."""

    def __init__(self, *, low: int = -(2**63), high: int = 2**63 - 1, **options: Any):
        super().__init__(validate=ma.validate.Range(low, high), **options)

    def _validated(self, value: Any) -> int:
        if (isinstance(value, Wire) and _is_integer(value)) or type(value) is int:
            return int(value)
        raise self.make_error("invalid", input=value)


class Boolean(ma.fields.Boolean):
    """A boolean, in JSON without quotes: marshmallow alone takes "on", "yes" and 1."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if isinstance(value, Wire) and value in ("true", "false"):
            return value == "true"
        if isinstance(value, FormWire) and value == "on":
            return True
        if isinstance(value, bool):
            return value
        raise self.make_error("invalid", input=value)


class Timestamp(ma.fields.AwareDateTime):
    """A moment, RFC 3339 in UTC with Z."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else rfc3339(value)


class PaginationSchema(AnswerSchema):
    """The place of a page in its list, for the OpenAPI document."""

    page = ma.fields.Integer(allow_none=True)
    limit = ma.fields.Integer()
    total = ma.fields.Integer()
    total_pages = ma.fields.Integer()
    total_is_exact = ma.fields.Boolean()
    has_more = ma.fields.Boolean()
    next_cursor = ma.fields.String(allow_none=True)
