import re

import pytest

from services.posts.highlight import Highlighter
from services.posts.words import terms


@pytest.mark.parametrize(
    "question, text, marked",
    [
        ("lantern", "The lantern, by night", "The <mark>lantern</mark>, by night"),
        ("lan", "Lanterns and land", "<mark>Lanterns</mark> and <mark>land</mark>"),
        ("red lan", "Red redder Lán", "<mark>Red</mark> redder <mark>Lán</mark>"),
        ("strasse", "Die Straße", "Die <mark>Straße</mark>"),
        ("本語", "日本語の本", "日<mark>本語</mark>の本"),
        ("日本語", "日本語です", "<mark>日本語</mark>です"),
        ("本", "日本語の本", "日<mark>本</mark>語の<mark>本</mark>"),
        ("script", "<script>alert(1)</script>", "&lt;<mark>script</mark>&gt;alert(1)&lt;/<mark>script</mark>&gt;"),
        ("mark", "<mark> & \"mark'", "&lt;<mark>mark</mark>&gt; &amp; &quot;<mark>mark</mark>&#x27;"),
        ("amp lt", "a & b < c amp", "a &amp; b &lt; c <mark>amp</mark>"),
        ("nothing", "Text", "Text"),
        ("?", "Text?", "Text?"),
    ],
)
def test_words_are_marked_and_the_rest_is_escaped(question: str, text: str, marked: str) -> None:
    assert Highlighter(terms(question)).whole(text) == marked


def test_a_snippet_stands_around_the_first_match() -> None:
    text = "word " * 100 + "the lantern " + "word " * 100
    snippet = Highlighter(terms("lantern")).snippet(text)
    assert "the <mark>lantern</mark> word" in snippet
    assert (snippet[:5], snippet[-1]) == ("…word", "…")
    assert len(snippet) < 300
    assert Highlighter(terms("none")).snippet("Short <b>") == "Short &lt;b&gt;"


@pytest.mark.parametrize("question", ["b", "script lt gt amp quot", "x27", "mark"])
def test_a_page_gets_no_tag_but_mark(question: str) -> None:
    text = "<b onclick='x'>b</b> &lt;script&gt; <mark>mark</mark> <script src=\"b\"> &#x27; " * 20
    shown = Highlighter(terms(question)).snippet(text)
    assert set(re.findall(r"<[^>]*>?", shown)) <= {"<mark>", "</mark>"}
    assert shown.count("<mark>") == shown.count("</mark>") > 0
