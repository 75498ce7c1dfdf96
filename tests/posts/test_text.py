import pytest

from services.posts.text import EXCERPT_LENGTH, cut, excerpt

FLAG, TONE, FAMILY = "🇫🇷", "👍🏽", "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(
    "text, length, kept",
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "abc"),
        (FLAG * 3, 3, FLAG),
        (FLAG * 3, 4, FLAG * 2),
        (TONE * 2, 3, TONE),
        (FAMILY * 2, 9, FAMILY),
        ("e\u0301e\u0301", 3, "e\u0301"),
        ("नि" * 2, 3, "नि"),
        ("\u1100\u1161\u11a8" * 2, 4, "\u1100\u1161\u11a8"),
        ("a" + "\u0301" * 9, 5, "a" + "\u0301" * 4),  # no text without an end
    ],
)
def test_text_is_cut_between_grapheme_clusters(text: str, length: int, kept: str) -> None:
    assert cut(text, length) == kept


@pytest.mark.parametrize("cluster", [FLAG, TONE, FAMILY, "e\u0301", "\u1100\u1161\u11a8"])
@pytest.mark.parametrize("before", ["", "x", "xy"])
def test_an_excerpt_ends_with_a_whole_cluster(before: str, cluster: str) -> None:
    shown = excerpt(before + cluster * 300)
    assert set(shown.removeprefix(before).split(cluster)) == {""}
    assert EXCERPT_LENGTH - len(cluster) < len(shown) <= EXCERPT_LENGTH
