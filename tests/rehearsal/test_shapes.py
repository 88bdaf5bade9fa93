from __future__ import annotations

from typing import Any

import pytest

from pipit.rehearsal.shapes import Refused, Shape, anything, array, by, either, flag, nullable, number, one_of, record, text

PERSON = record({"name": text, "age": number(0, 150, whole=True), "tags": array(text, longest=2)}, required=["name"])
THING = by("type", {"cat": record({"type": text, "lives": number(1, 9)}, required=["lives"]), "dog": record({"type": text})})


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (anything, object()),
        (text, ""),
        (flag, False),
        (number(0, 1), 0.5),
        (number(0, 1), 1),
        (one_of("a", None), None),
        (one_of(["audio"], ["text"]), ["text"]),
        (nullable(text), None),
        (array(flag), []),
        (PERSON, {"name": "Ada", "age": 36, "tags": ["x", "y"]}),
        (THING, {"type": "cat", "lives": 9}),
        (either(number(1, 10), one_of("inf")), "inf"),
    ],
)
def test_what_has_the_shape_passes(shape: Shape, value: Any) -> None:
    shape(value, "it")


@pytest.mark.parametrize(
    ("shape", "value", "problem", "path", "words"),
    [
        (text, 5, "type", "it", "expected a string, but got a number"),
        (text, None, "type", "it", "but got null"),
        (flag, 1, "type", "it", "expected a boolean"),
        (number(0, 1), "1", "type", "it", "expected a number, but got a string"),
        (number(0, 1), True, "type", "it", "but got a boolean"),
        (number(0, 9, whole=True), 1.5, "type", "it", "expected an integer"),
        (number(0, 1), 1.1, "value", "it", "from 0 to 1"),
        (one_of("a", "b"), "c", "value", "it", "'a', 'b'"),
        (one_of(1), True, "value", "it", "Supported values are: 1"),
        (array(text, longest=1), ["a", "b"], "value", "it", "at most 1"),
        (array(text), ["a", 2], "type", "it[1]", "expected a string"),
        (array(text), {}, "type", "it", "expected an array, but got an object"),
        (PERSON, {}, "missing", "it.name", "Missing required parameter: 'it.name'"),
        (PERSON, {"name": "Ada", "height": 1}, "unknown", "it.height", "Unknown parameter: 'it.height'"),
        (PERSON, {"name": "Ada", "tags": [1]}, "type", "it.tags[0]", "expected a string"),
        (PERSON, [], "type", "it", "expected an object, but got an array"),
        (THING, {"type": "cat"}, "missing", "it.lives", "it.lives"),
        (THING, {"lives": 9}, "missing", "it.type", "it.type"),
        (THING, {"type": "cow"}, "value", "it.type", "'cat', 'dog'"),
        (either(number(1, 10), one_of("inf")), 11, "value", "it", "'inf'"),
    ],
)
def test_what_does_not_is_refused_with_place_and_reason(shape: Shape, value: Any, problem: str, path: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        shape(value, "it")
    assert (refused.value.problem, refused.value.path) == (problem, path)
    assert words in refused.value.message


def test_at_the_top_a_path_has_no_leading_dot() -> None:
    with pytest.raises(Refused) as refused:
        PERSON({"x": 1}, "")
    assert refused.value.path == "x"
