"""Find posts by their words: one index on SQLite (FTS5) and on PostgreSQL (tsvector and GIN), asked in the same way.

A post is found under its number of publication, by a set of lexemes: its words, those of title and tags once more,
its author, tags and category, so that a filter is only one more lexeme. Each lexeme names the part of the
index, so many publications, in which the post stands. Parts are asked from the newest on, until enough is found;
therefore even a word of every post costs the same at any number of posts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain

from services.posts.models import database
from services.posts.words import Term, limited, terms, words
from shared.db import execute, is_postgres

PART = 16_384  # publications
MAX_FOUND = 10_000  # matches that are ranked and counted
MAX_RANKED = 8  # words of a question that raise a post's rank
WORD, TITLE, TAG, AUTHOR, LABEL, CATEGORY = "w", "t", "g", "a", "l", "c"  # kinds of lexemes
WEIGHTS = {TITLE: 10, TAG: 3}  # what a word there adds; in the content nothing
_END = 2**62

_PARTS = """
    SELECT string_agg(found.publication::text, ',')
    FROM (
        SELECT one.publication
        FROM unnest(%s::bigint[]) AS part,
            LATERAL (
                SELECT post_search.publication FROM post_search
                WHERE lexemes @@ replace(%s, '@', part::text)::tsquery AND post_search.publication + 0 < %s
                ORDER BY post_search.publication DESC
            ) AS one
        LIMIT %s
    ) AS found"""
_PART = "SELECT rowid FROM post_search WHERE post_search MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?"


def lexemes(
    publication: int, title: str, tags: Iterable[str], content: str, labels: Iterable[tuple[str, str | int]]
) -> list[str]:
    """Return what a post is to be found by; `labels` are kinds of lexemes with the ids that are filtered by."""
    part = publication // PART
    in_title, in_tags = words(title), words(" ".join(tags))
    kinds = ((TITLE, in_title), (TAG, in_tags), (WORD, limited(in_title | in_tags | words(content))))
    plain = [f"{kind}{part}x{word}" for kind, found in kinds for word in found]
    return plain + [f"{kind}{part}x{_plain(label)}" for kind, label in labels]


def columns() -> tuple[str, str]:
    """Return the columns of the index: the number and what `stored` makes of the lexemes."""
    return ("publication" if is_postgres(database) else "rowid", "lexemes")


def stored(found_by: list[str]) -> str:
    """Return lexemes, which have neither spaces nor quotes, as the database takes them."""
    return " ".join(f"'{lexeme}'" for lexeme in found_by) if is_postgres(database) else " ".join(found_by)


def put(publication: int, found_by: list[str]) -> None:
    """Let a post be found; call it in the transaction that lists it, and after `remove` for a change."""
    insert = f"INSERT INTO post_search ({', '.join(columns())}) VALUES (?, ?)"  # noqa: S608 (own names)
    execute(database, insert, (publication, stored(found_by)))


def remove(publication: int) -> None:
    """Let a post no longer be found."""
    execute(database, f"DELETE FROM post_search WHERE {columns()[0]} = ?", (publication,))  # noqa: S608 (own names)


def next_publication() -> int:
    """Return the number for a post that is published for the first time."""
    if is_postgres(database):
        return int(database.execute_sql("SELECT nextval('post_publication_seq')").fetchone()[0])
    return last_publication() + 1


def last_publication() -> int:
    return database.execute_sql("SELECT max(publication) FROM post").fetchone()[0] or 0


class Question:
    """What is asked for: all words of a text and one label out of each group."""

    def __init__(self, text: str, groups: Sequence[Sequence[tuple[str, str | int]]] = ()) -> None:
        self.terms = terms(text)
        self._groups = [
            [Term(f"{kind}@x{_plain(label)}", is_prefix=False) for kind, label in group] for group in groups
        ]

    def newest(self, before: int = _END, limit: int = MAX_FOUND + 1) -> list[int]:
        """Return the publications that match, the newest first."""
        if not self.terms or not all(self._groups):
            return []
        groups = [[_lexeme(WORD, term)] for term in self.terms] + self._groups
        last = min(last_publication(), before)
        return _find(groups, range(last // PART, -1, -1), before, limit)

    def scores(self, found: list[int]) -> Counter[int]:
        """Return how far each of the publications is raised by where its words stand; the rest is 0."""
        if not found:
            return Counter()
        parts = sorted({publication // PART for publication in found}, reverse=True)
        among, scores = set(found), Counter[int]()
        for kind, weight in WEIGHTS.items():
            for term in self.terms[:MAX_RANKED]:
                for publication in _find([[_lexeme(kind, term)]], parts, found[0] + 1, len(parts) * PART):
                    if publication in among:
                        scores[publication] += weight
        return scores


def ranked(found: list[int], scores: Counter[int]) -> list[tuple[int, int]]:
    """Return score and publication of what was found, the best first and among equals the newest."""
    raised = sorted(((score, publication) for publication, score in scores.items()), reverse=True)
    return raised + [(0, publication) for publication in found if publication not in scores]


def _lexeme(kind: str, term: Term) -> Term:
    return Term(f"{kind}@x{term.word}", term.is_prefix)


def _find(groups: list[list[Term]], parts: Iterable[int], before: int, limit: int) -> list[int]:
    if is_postgres(database):
        asked = " & ".join(f"({' | '.join(_in_postgres(term) for term in group)})" for group in groups)
        (found,) = database.execute_sql(_PARTS, (list(parts), asked, before, limit)).fetchone()
        return [int(number) for number in found.split(",")] if found else []
    asked = " AND ".join(f"({' OR '.join(_in_sqlite(term) for term in group)})" for group in groups)
    return _in_parts(asked, parts, before, limit)


def _in_parts(asked: str, parts: Iterable[int], before: int, limit: int) -> list[int]:
    found: list[int] = []
    cursor = database.cursor()
    for part in parts:
        found.extend(chain.from_iterable(cursor.execute(_PART, (asked.replace("@", str(part)), before, limit))))
        if len(found) >= limit:
            break
    return found[:limit]


def _in_postgres(term: Term) -> str:
    return f"'{term.word}':*" if term.is_prefix else f"'{term.word}'"


def _in_sqlite(term: Term) -> str:
    return f'"{term.word}"*' if term.is_prefix else f'"{term.word}"'


def _plain(label: str | int) -> str:
    """Return an id as one word."""
    return str(label).replace("-", "")
