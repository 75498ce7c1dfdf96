"""Rank what a search found: by where its words stand, title before tags before content, and then by time.

Example: for the query `lamp`, a post with the word in title and tags scores 13, in the title only 10, in tags only 3,
in the content only 0. The query asks for the lexemes `t…xlamp` and `g…xlamp` together first. If these rows fill the
page, it reads no others; else it asks for `t…xlamp` without `g…xlamp`, and so on down to `w…xlamp` without both.
"""

from collections import Counter
from itertools import chain, islice

from services.posts.search import index
from services.posts.search.index import END, TAG, TITLE, WORD, SearchQuery, lexeme

MAX_RANKED = 8  # words of a question that raise a post's rank
WEIGHTS = {TITLE: 10, TAG: 3}  # what a word there adds; in the content nothing
TIERS = ((TITLE, TAG), (TITLE,), (TAG,), ())  # where one word may stand, the best first
FIRST = (2**31, END)  # before all matches

Match = tuple[int, int]  # score and publication


def best(question: SearchQuery, place: Match, wanted: int) -> tuple[int, list[Match]]:
    """Return how many match, at most one more than are ranked, and so many of these as stand next after a place."""
    return _of_one_word(question, place, wanted) if len(question.terms) == 1 else _of_several(question, place, wanted)


def _of_one_word(question: SearchQuery, place: Match, wanted: int) -> tuple[int, list[Match]]:
    """Go through the few scores that there can be, until enough is found: no word is so common that it takes long."""
    found, behind = question.count()
    term = question.terms[0]
    matches: list[Match] = []
    for kinds in TIERS:
        score = sum(WEIGHTS[kind] for kind in kinds)
        if score <= place[0] and len(matches) < wanted:
            words = [[lexeme(kind, term)] for kind in kinds or (WORD,)]
            without = [lexeme(kind, term) for kind in WEIGHTS if kind not in kinds]
            before = place[1] if score == place[0] else END
            tier = question.having(words, without, behind, before, wanted - len(matches))
            matches += [(score, publication) for publication in tier]
    return found, matches


def _of_several(question: SearchQuery, place: Match, wanted: int) -> tuple[int, list[Match]]:
    """Add up what each of the words says of the matches; those of which none says anything keep their order."""
    found = question.newest(END, index.MAX_MATCHES + 1)
    ranked = found[: index.MAX_MATCHES]
    matching, scores = set(ranked), Counter[int]()
    for kind, weight in WEIGHTS.items():
        for term in question.terms[:MAX_RANKED] if ranked else ():
            named = question.having([[lexeme(kind, term)]], behind=ranked[-1] - 1, before=ranked[0] + 1)
            for publication in matching.intersection(named):
                scores[publication] += weight
    raised = sorted(((score, publication) for publication, score in scores.items()), reverse=True)
    others = ((0, publication) for publication in ranked if publication not in scores)
    return len(found), list(islice((match for match in chain(raised, others) if match < place), wanted))
