from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipit.tools.arguments import DEEPEST, flaws, plain, problems
from tests.tools.anything import ANYTHING, SCHEMAS

SCHEMA = {
    "type": "object",
    "properties": {
        "level": {"type": "integer", "minimum": 0, "maximum": 100},
        "room": {"type": "string", "enum": ["kitchen", "hall"]},
        "note": {"type": ["string", "null"], "maxLength": 3},
        "days": {"type": "array", "items": {"type": "string"}},
        "at": {"type": "object", "properties": {"hour": {"type": "number"}}, "required": ["hour"]},
        "mode": {"const": "eco"},
        "any": {},
    },
    "required": ["level"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"level": 5}, []),
        ({"level": 5.0, "room": "hall", "note": None, "days": ["mon"], "at": {"hour": 1.5}, "mode": "eco", "any": [1]}, []),
        ({}, ["level is missing"]),
        ({"level": 101}, ["level must be at most 100"]),
        ({"level": -1}, ["level must be at least 0"]),
        ({"level": True}, ["level must be integer"]),
        ({"level": 5.5}, ["level must be integer"]),
        ({"level": "5"}, ["level must be integer"]),
        ({"level": 5, "room": "attic"}, ["room must be one of kitchen, hall"]),
        ({"level": 5, "note": "long"}, ["note is too short or too long"]),
        ({"level": 5, "note": 5}, ["note must be string or null"]),
        ({"level": 5, "days": ["mon", 2]}, ["days[1] must be string"]),
        ({"level": 5, "at": {}}, ["at.hour is missing"]),
        ({"level": 5, "at": {"hour": "x"}}, ["at.hour must be number"]),
        ({"level": 5, "mode": "turbo"}, ["mode must be eco"]),
        ({"level": 5, "colour": "red"}, ["colour is not known here"]),
        ([], ["the arguments must be object"]),
    ],
)
def test_what_is_wrong(value: Any, words: list[str]) -> None:
    assert list(problems(SCHEMA, value)) == words
    assert list(flaws(SCHEMA)) == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, ["it must be the schema of an object: {type: object, properties: {...}}"]),
        ({"type": "object", "required": True}, ["required must be a list of names"]),
        ({"type": "object", "properties": []}, ["properties must be a mapping of names to schemas"]),
        ({"type": "object", "properties": {"x": 5}}, ["properties.x must be a schema"]),
        ({"type": "object", "properties": {"x": True}}, []),
        ({"type": "object", "properties": {"x": {"minimum": "0"}}}, ["properties.x.minimum must be a number"]),
        ({"type": "object", "properties": {"x": {"maximum": False}}}, ["properties.x.maximum must be a number"]),
        ({"type": "object", "properties": {"x": {"items": {"enum": 3}}}}, ["properties.x.items.enum must be a list"]),
        ({"type": "object", "properties": {"x": {"maxLength": 1.5}}}, ["properties.x.maxLength must be a whole number"]),
        (
            {"type": "object", "properties": {"x": {"type": "date"}}},
            ["properties.x.type must be of object, array, string, number, integer, boolean, null, or a list of these"],
        ),
        ({"type": "object", "properties": {"x": {"minimum": 10**400}}}, []),
        ({"type": "object", "const": float("inf")}, ["it Out of range float values are not JSON compliant"]),
        ({"type": "object", "const": b"x"}, ["it is not JSON (Object of type bytes is not JSON serializable)"]),
    ],
)
def test_what_is_wrong_with_a_schema(schema: Any, words: list[str]) -> None:
    assert [line.partition(": inf")[0] for line in flaws(schema)] == words


def nested(depth: int) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = [found]
    return found


def test_what_nobody_could_take_is_not_plain() -> None:
    assert plain({"a": "\ud83d", "\udc00": [1, True, None, 2.5, "ü"]}) == {"a": "?", "?": [1, True, None, 2.5, "ü"]}
    assert plain(nested(DEEPEST - 1)) == nested(DEEPEST - 1)
    for bad in (nested(DEEPEST), nested(5000), float("nan"), [float("-inf")], 10**5000, {1, 2}):
        with pytest.raises(ValueError, match=r".+"):
            plain(bad)


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, st.dictionaries(st.text(max_size=3), ANYTHING, max_size=3) | ANYTHING)
def test_no_schema_and_no_value_is_too_much(schema: Any, value: Any) -> None:
    """A schema has flaws, which are told; or every plain value can be judged by it."""
    if list(flaws(schema)):
        return
    try:
        value = plain(value)
    except ValueError:
        return
    assert all(isinstance(line, str) for line in problems(schema, value))
