import re

import pytest

from services.posts.search import highlight
from services.posts.search.highlight import LENGTH, Highlighter
from services.posts.search.tokenizer import prepared, terms


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
        ("bonjour", "«bonjour», dit-il", "«<mark>bonjour</mark>», dit-il"),
        ("น้ำ", "ดื่มน้ำเย็น", "ดื่ม<mark>น้ำ</mark>เย็น"),
        ("c++", "C and C++ are", "C and <mark>C++</mark> are"),
        ("c x", "x C++", "<mark>x</mark> <mark>C</mark>++"),
        ("dont", "I don\u2019t", "I <mark>don\u2019t</mark>"),
        ("amour", "l\u2019amour", "l\u2019<mark>amour</mark>"),
        ("کتاب", "هذا كتاب", "هذا <mark>كتاب</mark>"),
        ("snake", "snake_case", "<mark>snake</mark>_case"),
        ("صلى", "x ﷺ y", "x <mark>ﷺ</mark> y"),
        ("👨", "x 👨\u200d👩\u200d👧 y", "x <mark>👨\u200d👩\u200d👧</mark> y"),
        ("école", "E\u0301cole, e\u0301cole", "<mark>E\u0301cole</mark>, <mark>e\u0301cole</mark>"),
        ("한국", "\u1112\u1161\u11ab국", "<mark>\u1112\u1161\u11ab국</mark>"),
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


@pytest.mark.parametrize(
    "question, text",
    [("lantern", "word " * 19_000 + "the lantern"), ("水", "日本。" * 30_000 + "水"), ("水", "日" * 50_000 + "水")],
)
def test_a_snippet_holds_the_match_wherever_it_stands(question: str, text: str) -> None:
    assert f"<mark>{question}</mark>" in Highlighter(terms(question)).snippet(text)


def test_a_snippet_cuts_no_grapheme_cluster() -> None:
    family = "👨\u200d👩\u200d👧"
    snippet = Highlighter(terms("lantern")).snippet(family * 60 + "lantern" + family * 60)
    before, _, after = snippet.strip("…").partition("<mark>lantern</mark>")
    assert set(before.split(family)) == set(after.split(family)) == {""}


def test_a_long_match_is_cut_with_the_snippet() -> None:
    shown = Highlighter(terms("a" * 70)).snippet("a" * 1_000)
    assert shown == f"<mark>{'a' * LENGTH}</mark>…"


@pytest.mark.parametrize(
    "text",
    ["ﷺ" * 100_000, "🇫🇷" * 50_000, "a'" * 50_000, "\u0315\u0300" * 50_000, "日" * 100_000],
    ids=["ligatures", "flags", "apostrophes", "marks", "dense"],
)
def test_one_answer_reads_no_more_whatever_its_texts_and_question(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def counted(text: str) -> str:
        read.append(len(text))
        return prepared(text)

    monkeypatch.setattr(highlight, "prepared", counted)
    highlighter = Highlighter(terms(" ".join(map(chr, range(0x4E00, 0x4E64)))))
    for _ in range(100):
        highlighter.snippet(text)
    assert sum(read) <= 1_000_000
    assert len(read) <= 3_400


@pytest.mark.parametrize("question", ["b", "script lt gt amp quot", "x27", "mark"])
def test_a_page_gets_no_tag_but_mark(question: str) -> None:
    text = "<b onclick='x'>b</b> &lt;script&gt; <mark>mark</mark> <script src=\"b\"> &#x27; " * 20
    shown = Highlighter(terms(question)).snippet(text)
    assert set(re.findall(r"<[^>]*>?", shown)) <= {"<mark>", "</mark>"}
    assert shown.count("<mark>") == shown.count("</mark>") > 0
