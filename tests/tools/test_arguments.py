from __future__ import annotations

from typing import Any

import pytest

from pipit.tools.arguments import problems

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
