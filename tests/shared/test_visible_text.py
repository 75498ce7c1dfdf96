"""Names and titles need a visible character."""

import marshmallow as ma
import pytest

from shared.visible_text import has_visible_character
from shared.web.schema import Text

INVISIBLE = [
    "\u200b\u200b",
    "\u3164\u3164",
    "\u2800\u2800",
    "\u034f\u0301",
    "\ufe0f\u200d",
    "\u00ad\u2060",
    "\U000e0041\U000e007f",
]
VISIBLE = [
    "Ann",
    "李",
    "–",
    "12",
    "👩\u200d👩\u200d👧",
    "می\u200cخواهم",
    "क्षि",
    "\u0bbe",
    "\U0001fadf",
    "❤\ufe0f",
    "e\u0301",
]


@pytest.mark.parametrize("text", INVISIBLE)
def test_that_text_of_invisible_characters_is_no_name(text: str) -> None:
    assert not has_visible_character(text)
    with pytest.raises(ma.ValidationError, match="visible"):
        Text(low=2, high=50).deserialize(text)


@pytest.mark.parametrize("text", VISIBLE)
def test_that_one_visible_character_makes_a_name(text: str) -> None:
    assert has_visible_character(text)
    assert Text(low=1, high=50).deserialize(f"\u200b{text}\u200b") == f"\u200b{text}\u200b"


@pytest.mark.parametrize(
    "field", [Text(high=50), Text(low=1, high=50, lines=True), Text(low=1, high=50, verbatim=True)]
)
def test_that_other_text_may_be_invisible(field: Text) -> None:
    assert field.deserialize("\u200b") == "\u200b"
