"""The same requests on SQLite and on PostgreSQL, whose answers must be the same."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ODD_TEXTS = [
    "\xdf" * 26, "\xdf" * 50, "\ufdfa\ufdfa\ufdfa", "\ufdfa" * 50, "\u0130" * 50, "\u0149" * 50, "\ufb03" * 50,
    "\u1e9etra\xdfe", "\u0391\u03a3 \u03b1\u03c2", "\u2167 \u2177",
    "\uff46\uff55\uff4c\uff4c \uff57\uff49\uff44\uff54\uff48", "e\u0301te\u0301", "\xe9t\xe9", "a" + "\u0301" * 40,
    "\u0301\u0301\u0301", "\uff41\u3099", "\ud55c\uae00", "\u1112\u1161\u11ab",
    "\u0e19\u0e4d\u0e49\u0e32\u0e15\u0e01", "\u092d\u093e\u0930\u0924 \u0915\u094d\u0937",
    "\u65e5\u672c\u8a9e\u306e\u30bf\u30b0", "\U0001d54f\U0001d550\U0001d551",
    "\U0001f3f3\ufe0f\u200d\U0001f308\U0001f3f3\ufe0f\u200d\U0001f308",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 ok",
    "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7\U0001f1e9", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "\u0643\u062a\u0627\u0628 \u06f1\u06f2\u06f3", "\u02bbokina Ukra\u0457na\u02bcs", "C++", "C#", "50 % off_now",
    "back\\slash", 'it\'s "quoted"', "a;b--c", "{curly}", "<b>&amp;", "$1 $$ ?", "%s %(x)s", "a\x00b", "a\x1fb",
    "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b", "a\udfffb", "a\ufffeb", "a\U0010ffffb", "\ufffd\ufffd",
    "\u200b\u200b\u200b", "\u202eabc", "\ufeffabc", "  spaced  ", "\u3000wide\u3000", "a\tb", "a\nb", "\xa0nb\xa0",
    "\u115f\u115f", "x" * 50, "x" * 51, "\U0001d4b3" * 50, "-", "--- ...", "NULL", "true", "0", "1e308",
    "\xc9 Z \u201eA\u201c \xe4", "\u01c6 \u01c5 \u01c4",
]  # fmt: skip

Run = Callable[[str], list[Any]]  # with the address of a database
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_SLUG_END = re.compile(r'("slug":"[^"]*)-[0-9a-f]{6}"')
_RANDOM = re.compile(r'"(requestId|accessToken|refreshToken|nextCursor)": ?"[^"]*"')


def as_json(value: Any) -> dict[str, str]:
    """Return what sends the value; lone surrogates are escaped, as JavaScript sends them."""
    return {"data": json.dumps(value), "content_type": "application/json"}


def outcome(answer: Any) -> tuple[int, str]:
    """Return status and body of an answer, without what is new each time."""
    body = _RANDOM.sub(r'"\1":""', answer.get_data(as_text=True))
    body = _SLUG_END.sub(r'\1-random"', body)
    return answer.status_code, _TIME.sub("time", _ID.sub("id", body))


def assert_same_answers(urls: dict[str, str], run: Run) -> None:
    """Assert that both engines answer alike, and none of them with a mistake of ours."""
    sqlite, postgres = run(urls["sqlite"]), run(urls["postgres"])
    assert [answer for answer in sqlite + postgres if answer[1][0] >= 500] == []
    differences = [pair for pair in zip(sqlite, postgres, strict=True) if pair[0] != pair[1]]
    assert not differences, "\n".join(f"{one}\n{other}\n" for one, other in differences[:10])


@pytest.fixture
def engine_urls(request: pytest.FixtureRequest, migrations: Any) -> Iterator[dict[str, str]]:
    """Return the address of a database of each engine."""
    postgres = request.getfixturevalue("postgres").database(migrations)
    yield {"sqlite": request.getfixturevalue("sqlite_url"), "postgres": next(postgres)}
    next(postgres, None)
