"""Find posts by their words: one index on SQLite (FTS5) and on PostgreSQL (tsvector and GIN), asked in the same way.

A post is found under its number of publication, by a set of lexemes: its words, those of title and tags once more,
its author, tags and category, so that a filter is only one more lexeme. Each lexeme begins with its kind and the
number of the part of the index: part 0 holds the publications 0 to 16,383, part 1 the next 16,384. A query asks the
parts from the newest on until it has enough matches, so a word of every post costs the same at any number of posts.

Example: publication 20,000 has the title `Über C++`, the tag `Go` (id 7) and the content `A lamp`. Its row stores
`t1xuber t1xc t1xc++ g1xgo w1xa w1xc w1xc++ w1xgo w1xlamp w1xuber l1x7`; the database gets the fullwidth forms of
`+` and `#`. With 40,000 publications the query `uber c` looks for `w2xuber` and `w2xc*` in the rows of part 2 first.
Only if these are fewer than the page needs does it look for `w1xuber` and `w1xc*`, and so reaches this row.
"""

from collections.abc import Iterable, Sequence
from itertools import chain

from services.posts.models import database
from services.posts.search.tokenizer import Term, limited, terms, words
from shared.database.connection import execute, is_postgres

PART_SIZE = 16_384  # publications
MAX_MATCHES = 10_000  # matches that are ranked and counted
WORD, TITLE, TAG, AUTHOR_ID, TAG_ID, CATEGORY_ID = "w", "t", "g", "a", "l", "c"  # kinds of lexemes
END = 2**62  # after all publications
_SIGNS = str.maketrans("+#", "\uff0b\uff03")  # FTS5 cuts words at ASCII signs; no folded text has these forms

# The sums keep the planner from walking the primary key and testing each row. With its limit as a value, the statement
# would be planned anew each time.
_IN_PARTS = """
    SELECT string_agg(publication::text, ',')
    FROM (
        SELECT one.publication
        FROM unnest(%s::bigint[]) AS part,
            LATERAL (
                SELECT post_search.publication FROM post_search
                WHERE lexemes @@ replace(%s, '@', part::text)::tsquery
                    AND post_search.publication + 0 < %s AND post_search.publication + 0 > %s
                ORDER BY post_search.publication + 0 DESC
            ) AS one
        LIMIT {limit}
    ) AS found"""
# Whole parts are counted, which is cheaper than to order their matches, and then the last one is cut to the limit.
_COUNT_IN_PARTS = """
    WITH RECURSIVE walk (part, number, least, beyond) AS (
        SELECT max(publication) / %(part)s::bigint + 1, 0::bigint, 0::bigint, -%(limit)s::bigint FROM post
        UNION ALL
        SELECT part - 1, one.number, one.least, beyond + one.number
        FROM walk,
            LATERAL (
                SELECT count(*) AS number, min(publication) AS least FROM post_search
                WHERE lexemes @@ replace(%(asked)s, '@', (part - 1)::text)::tsquery
            ) AS one
        WHERE beyond < 0 AND part > 0
    )
    SELECT number - greatest(beyond, 0), CASE WHEN beyond <= 0 THEN least ELSE (
        SELECT publication FROM post_search WHERE lexemes @@ replace(%(asked)s, '@', part::text)::tsquery
        ORDER BY publication + 0 DESC LIMIT 1 OFFSET number - beyond - 1
    ) END
    FROM walk WHERE number > 0 ORDER BY part DESC"""
_IN_PART = """
    SELECT rowid FROM post_search WHERE post_search MATCH ? AND rowid < ? AND rowid > ? ORDER BY rowid DESC LIMIT ?"""
_COUNT = f"SELECT count(*), min(rowid) FROM ({_IN_PART})"  # noqa: S608 (own names)

Groups = Sequence[Sequence[Term]]  # one lexeme out of each is to be there


def lexemes(
    publication: int, title: str, tags: Iterable[str], content: str, labels: Iterable[tuple[str, str | int]]
) -> list[str]:
    """Return the lexemes of a post; `labels` are kinds of lexemes with the ids of author, tags and category."""
    part = publication // PART_SIZE
    in_title, in_tags = words(title), words(" ".join(tags))
    kinds = ((TITLE, in_title), (TAG, in_tags), (WORD, limited(in_title | in_tags | words(content))))
    plain = [f"{kind}{part}x{word}" for kind, found in kinds for word in found]
    return plain + [f"{kind}{part}x{_plain(label)}" for kind, label in labels]


def put(publication: int, found_by: list[str]) -> None:
    """Add a post to the index, in the transaction that lists it. To change a post, call `remove` first.

    Lexemes have neither spaces nor quotes.
    """
    written = " ".join(f"'{lexeme}'" for lexeme in found_by) if is_postgres(database) else " ".join(found_by)
    stored = written.translate(_SIGNS) if "+" in written or "#" in written else written
    execute(database, f"INSERT INTO post_search ({_key()}, lexemes) VALUES (?, ?)", (publication, stored))  # noqa: S608 (own names)


def remove(publication: int) -> None:
    """Remove a post from the index."""
    execute(database, f"DELETE FROM post_search WHERE {_key()} = ?", (publication,))  # noqa: S608 (own names)


def _key() -> str:
    """Return the column that holds the publication."""
    return "publication" if is_postgres(database) else "rowid"


def next_publication() -> int:
    """Return the number for a post that is published for the first time."""
    if is_postgres(database):
        return int(database.execute_sql("SELECT nextval('post_publication_seq')").fetchone()[0])
    return last_publication() + 1


def last_publication() -> int:
    return database.execute_sql("SELECT max(publication) FROM post").fetchone()[0] or 0


class SearchQuery:
    """What is asked for: all words of a text and one label out of each group."""

    def __init__(self, text: str, groups: Sequence[Sequence[tuple[str, str | int]]] = ()) -> None:
        self.terms = terms(text)
        self._words = [[lexeme(WORD, term)] for term in self.terms]
        self._labels = [
            [lexeme(kind, Term(_plain(label), is_prefix=False)) for kind, label in group] for group in groups
        ]
        self._can_match = bool(self.terms) and all(groups)
        self._parts: Sequence[int] | None = None  # those that have matches, where it is known

    def count(self) -> tuple[int, int]:
        """Return how many match, at most one more than are ranked, and the publication behind those that are ranked.

        Then only the parts are asked that have some. To fetch so many takes longer than to find them.
        """
        pieces = _numbers(_asked([*self._words, *self._labels]), MAX_MATCHES + 1) if self._can_match else []
        self._parts = [least // PART_SIZE for _, least in pieces]
        found = sum(number for number, _ in pieces)
        return found, pieces[-1][1] if found > MAX_MATCHES else -1

    def newest(self, before: int, limit: int) -> list[int]:
        """Return the publications that match, the newest first."""
        return self.having(self._words, before=before, limit=limit)

    def having(
        self, words: Groups, without: Sequence[Term] = (), behind: int = -1, before: int = END, limit: int = END
    ) -> list[int]:
        """Return the publications between two with these lexemes and the labels, the newest first."""
        if not self._can_match:
            return []
        known = _parts() if self._parts is None else self._parts
        parts = [part for part in known if behind // PART_SIZE <= part <= before // PART_SIZE]
        return _publications(_asked([*words, *self._labels], without), parts, behind, before, limit)


def lexeme(kind: str, term: Term) -> Term:
    """Return what a word of that kind is in the index; the number of the part is to be put in."""
    return Term(f"{kind}@x{term.word.translate(_SIGNS)}", term.is_prefix)


def _publications(asked: str, parts: Sequence[int], behind: int, before: int, limit: int) -> list[int]:
    if is_postgres(database):
        in_parts = _IN_PARTS.format(limit=limit)
        (listed,) = database.execute_sql(in_parts, (list(parts), asked, before, behind)).fetchone()
        return [int(number) for number in listed.split(",")] if listed else []
    found: list[int] = []
    cursor = database.cursor()
    for part in parts:
        rest = limit - len(found)
        found.extend(chain.from_iterable(cursor.execute(_IN_PART, (_in(part, asked), before, behind, rest))))
        if len(found) == limit:
            break
    return found


def _numbers(asked: str, limit: int) -> list[tuple[int, int]]:
    """Return for each part that has any how many it has, and the least of them."""
    if is_postgres(database):
        values = {"asked": asked, "limit": limit, "part": PART_SIZE}
        return list(database.execute_sql(_COUNT_IN_PARTS, values).fetchall())
    pieces, cursor = [], database.cursor()
    for part in _parts():
        number, least = cursor.execute(_COUNT, (_in(part, asked), END, -1, limit)).fetchone()
        if number:
            pieces.append((number, least))
            limit -= number
        if not limit:
            break
    return pieces


def _parts() -> Sequence[int]:
    return range(last_publication() // PART_SIZE, -1, -1)


def _in(part: int, asked: str) -> str:
    return asked.replace("@", str(part))


def _asked(groups: Groups, without: Sequence[Term] = ()) -> str:
    """Return what the database is asked, for any part."""
    quote, prefix, either, both, but = (
        ("'", ":*", " | ", " & ", " & !") if is_postgres(database) else ('"', "*", " OR ", " AND ", " NOT ")
    )

    def one_of(terms: Sequence[Term]) -> str:
        return either.join(f"{quote}{term.word}{quote}{prefix * term.is_prefix}" for term in terms)

    asked = both.join(f"({one_of(group)})" for group in groups)
    return f"({asked}){but}({one_of(without)})" if without else asked


def _plain(label: str | int) -> str:
    """Return an id as one word."""
    return str(label).replace("-", "")
