import pytest

from services.posts.words import MAX_WORD, Term, fold, limited, terms, words


@pytest.mark.parametrize(
    "text, folded",
    [
        ("Lantern", "lantern"),
        ("ÉCOLE", "ecole"),
        ("e\u0301cole", "ecole"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("ﬁn", "fin"),
        ("Œuvre Ærø", "oeuvre aero"),
        ("Łódź", "lodz"),
        ("İstanbul ısı", "istanbul isi"),
        ("ΣΊΣΥΦΟΣ", "σισυφοσ"),
        ("Ёлка", "елка"),
        ("ＦＵＬＬ１２", "full12"),
        ("ｶﾞ", "ガ"),
        ("が", "が"),
        ("हिन्दी", "हिन्दी"),
        ("شَمْس", "شمس"),
        ("שָׁלוֹם", "שלום"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
    ],
)
def test_case_accents_and_forms_make_no_difference(text: str, folded: str) -> None:
    assert fold(text) == folded
    assert fold(folded) == folded


@pytest.mark.parametrize(
    "text, found",
    [
        ("Red, red lanterns!", {"red", "lanterns"}),
        ("don't", {"don", "t"}),
        ("snake_case a-b C++", {"snake", "case", "a", "b", "c"}),
        ("größe_klein _ Ä_", {"grosse", "klein", "a"}),
        ("日本語", {"日本", "本語", "語"}),
        ("ABC日本", {"abc", "日本", "本"}),
        ("水", {"水"}),
        ("ไทย", {"ไท", "ทย", "ย"}),
        ("हिन्दी भाषा", {"हिन्दी", "भाषा"}),
        ("👍 🚉🌉 ... \"'*()", {"👍", "🚉🌉", "🌉"}),
        ("a" * 100, {"a" * MAX_WORD}),
    ],
)
def test_a_text_is_cut_into_words(text: str, found: set[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(
    "question, wanted",
    [
        ("red lan", [("red", False), ("lan", True)]),
        ("lan lan", [("lan", False)]),
        ("日本語", [("日本", False), ("本語", False)]),
        ("水 red", [("水", True), ("red", True)]),
        ("\"red* AND (lan\\'", [("red", False), ("and", False), ("lan", True)]),
        ("?!", []),
    ],
)
def test_a_question_names_what_must_be_there(question: str, wanted: list[tuple[str, bool]]) -> None:
    assert terms(question) == [Term(*term) for term in wanted]


def test_endless_text_gives_as_many_words_as_fit() -> None:
    found = {f"{number:064}" for number in range(20_000)}
    assert 400_000 < sum(map(len, limited(found))) <= 500_000
    assert limited({"b", "a"}) == ["a", "b"]
