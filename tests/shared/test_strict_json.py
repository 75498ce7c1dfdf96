"""JSON from outside: what is refused, and what the worst document of its size may cost."""

import json
import sys
from typing import Any

import pytest

from shared import strict_json
from shared.problems import Problem
from shared.strict_json import MAX_DEPTH

MIB = 1024 * 1024
BOUNDARIES = [2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**19, 10**5999]


def code(document: str) -> str:
    try:
        strict_json.loads(document.encode())
    except Problem as problem:
        return problem.code
    return "OK"


@pytest.mark.parametrize("number", BOUNDARIES, ids=lambda number: f"{number:.2e}" if abs(number) < 2**70 else "long")
def test_integers_beyond_64_bits_are_refused_wherever_they_are(number: int) -> None:
    expected = "OK" if -(2**63) <= number < 2**63 else "INVALID_JSON"
    digits = "1" + "0" * 5999 if number > 2**70 else str(number)
    for document in (digits, f"[{digits}]", f'{{"a": [1, {digits} ]}}', f'["\\"", {digits}, "\\\\"]'):
        assert code(document) == expected


@pytest.mark.parametrize(
    "document",
    [
        "0.12345678901234567890",
        "12345678901234567890.5",
        "12345678901234567890e1",
        "1e-00000000000000000000001",
        '"12345678901234567890"',
        '"\\" 12345678901234567890 "',
        '{"12345678901234567890": "\\\\"}',
    ],
)
def test_digits_that_are_no_integer_are_taken(document: str) -> None:
    assert strict_json.loads(document.encode()) == json.loads(document)


@pytest.mark.parametrize(
    "around", ["%s", '{"a": "[[[", "b": %s}', '["\\"[", %s, "\\\\", "]"]', '[%s, ""]', '["{}", %s]']
)
def test_brackets_count_outside_of_texts_only(around: str) -> None:
    own = 1 if around != "%s" else 0
    assert code(around % ("[" * (MAX_DEPTH - own) + "]" * (MAX_DEPTH - own))) == "OK"
    assert code(around % ('{"a":' * (MAX_DEPTH + 1 - own) + "1" + "}" * (MAX_DEPTH + 1 - own))) == "INVALID_JSON"


def test_braces_in_texts_are_text() -> None:
    assert code(json.dumps(["{[" * 100, '"{' * 100, "\\" * 51 + "[" * 100])) == "OK"


@pytest.mark.parametrize(
    "item",
    ["[]", "{}", "[" * 30 + "]" * 30, '["["]', '"\\""', "1", '{"a":{"b":[]}}'],
)
def test_a_mebibyte_is_not_walked_through_in_python(item: str) -> None:
    document = f"[{','.join([item] * ((MIB - 2) // (len(item) + 1)))}]".encode()
    steps = 0

    def count(frame: Any, _event: str, _argument: Any) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != strict_json.__file__:  # the garbage collector's
            return None
        steps += 1
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        strict_json.loads(document)
    finally:
        sys.settrace(before)
    assert steps < 500


def test_a_byte_order_mark_is_dropped() -> None:
    assert strict_json.loads(b'\xef\xbb\xbf{"a": "\xef\xbb\xbf"}') == {"a": "\ufeff"}
    assert code("\ufeff\ufeff1") == "INVALID_JSON"
