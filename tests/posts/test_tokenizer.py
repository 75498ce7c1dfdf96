import time
import unicodedata

import pytest

from services.posts.search.tokenizer import (
    MAX_MARKS,
    MAX_WORD,
    Term,
    fold,
    limited,
    prepared,
    sort_key,
    terms,
    tokens,
    words,
)


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
        ("ﻛﺘﺎﺏ کتاب", "كتاب كتاب"),
        ("ی ى ي ئ", "ي ي ي ي"),
        ("ه ہ ھ ۀ ة", "ه ه ه ه ه"),
        ("٠١٢٣ ۴۵۶ ७८९", "0123 456 789"),
        ("комп\u02bcютер комп\u2019ютер Hawai\u02bbi", "комп'ютер комп'ютер hawai'i"),
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
        ("don't", {"don", "t", "dont"}),
        ("snake_case a-b", {"snake", "case", "a", "b"}),
        ("C++17, C# A+ a+b 1+1=2", {"c", "c++", "17", "c#", "a", "a+", "b", "1", "2"}),
        ("l\u2019amour rock'n'roll 'quoted'", {"l", "amour", "lamour", "rock", "n", "roll", "rocknroll", "quoted"}),
        ("日本語++ 中国's", {"日本", "本語", "語", "中国", "国", "s"}),
        ("⭐ ⏰⭐", {"⭐", "⏰⭐"}),
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
        ("C++", [("c++", True)]),
        ("C# x", [("c#", False), ("x", True)]),
        ("комп\u02bcютер", [("компютер", True)]),
        ("' + #", []),
    ],
)
def test_a_question_names_what_must_be_there(question: str, wanted: list[tuple[str, bool]]) -> None:
    assert terms(question) == [Term(*term) for term in wanted]


def test_endless_text_gives_as_many_words_as_fit() -> None:
    found = {f"{number:064}" for number in range(20_000)}
    assert 400_000 < sum(map(len, limited(found))) <= 500_000
    assert limited({"b", "a"}) == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "a" + "\u0315\u0300" * 50_000,
        "\u0928" + "\u093c\u094d" * 50_000,
        "\uff76" + "\uff9e\u0301" * 50_000,
        ("\u093c\u094d" * 14 + "\u200d") * 3_400,
        ("\u093c\u094d" * 14 + "\u0640") * 3_400,
    ],
    ids=["accents", "nukta", "halfwidth", "joined by invisible", "joined by tatweel"],
)
def test_runs_of_marks_are_cut_so_that_their_cost_grows_with_their_length(text: str) -> None:
    start = time.thread_time()
    folded = fold(text)
    assert time.thread_time() - start < 2  # seconds; without the cut 10 and more
    longest = run = 0
    for char in folded:
        run = run + 1 if unicodedata.combining(char) else 0
        longest = max(longest, run)
    assert longest <= MAX_MARKS


@pytest.mark.parametrize(
    "text", ["C++, don't l\u2019amour", "日本語 น้ำ 中国's", "Straße ﷺ", "हिन्दी 👨\u200d👩\u200d👧 ⭐⏰"]
)
def test_tokens_are_the_words_with_their_places(text: str) -> None:
    found = list(tokens(prepared(text)))
    assert {word for word, _, _ in found} == words(text)
    for word, start, end in found:
        assert prepared(text)[start:end].replace("'", "") == word


@pytest.mark.parametrize(
    "title, key",
    [
        ("École", "ecole"),
        ("„Alpha“ und Beta", "alpha und beta"),
        ("¿Qué?", "que"),
        ("\u2026 and then", "and then"),
        ("C++", "c++"),
        ("?!", "?!"),
    ],
)
def test_titles_are_sorted_by_their_words(title: str, key: str) -> None:
    assert sort_key(title) == key
