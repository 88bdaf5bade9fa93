from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.services import wire
from pipit.services.wire import Malformed, merge, sentence

SCALARS = st.none() | st.booleans() | st.integers() | st.text()
JSON = st.recursive(SCALARS, lambda below: st.lists(below) | st.dictionaries(st.text(), below), max_leaves=10)


def test_merge_goes_into_objects_and_replaces_everything_else() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}
    over = {"a": {"c": [3], "g": None}, "d": 5, "f": {"h": 1}}
    assert merge(base, over) == {"a": {"b": 1, "c": [3], "g": None}, "d": 5, "f": {"h": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}, "f": 1}


@given(st.dictionaries(st.text(), JSON), st.dictionaries(st.text(), JSON))
def test_merging_twice_is_merging_once(base: dict[str, Any], over: dict[str, Any]) -> None:
    once = merge(base, over)
    assert merge(once, over) == once
    assert merge(base, {}) == base


@given(st.text(), st.text(min_size=1, max_size=5))
def test_a_sentence_is_one_short_printable_line(words: str, secret: str) -> None:
    line = sentence(words, (secret,))
    assert line.isprintable()
    assert len(line) <= wire.REASON_LENGTH
    assert "  " not in line


def test_a_sentence_without_its_secrets() -> None:
    assert sentence("key sk-1 and sk-2", ("sk-1", "sk-2")) == "key … and …"


@given(st.binary())
def test_sound_survives_the_way_there_and_back(pcm: bytes) -> None:
    assert wire.encode(pcm) == base64.b64encode(pcm).decode()
    assert wire.sound({"a": wire.encode(pcm)}, "a") == pcm


@given(st.dictionaries(st.text(), JSON))
def test_messages_survive_the_way_there_and_back(data: dict[str, Any]) -> None:
    assert wire.parse(json.dumps(data)) == data
    assert wire.parse(json.dumps(data).encode()) == data


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (wire.text, 5),
        (wire.text, None),
        (wire.mapping, []),
        (wire.mapping, None),
        (wire.objects, {}),
        (wire.sound, None),
        (wire.sound, "AAA"),
        (wire.sound, "AAA=\n"),
        (wire.sound, "😀"),
        (wire.arguments, 5),
        (wire.arguments, "[]"),
        (wire.arguments, '{"seconds": NaN}'),
        (wire.arguments, '{"seconds": [{"a": -Infinity}]}'),
        (wire.arguments, '{"seconds": 1e999}'),
        (wire.arguments, {"seconds": float("nan")}),
    ],
)
def test_a_field_of_the_wrong_type_is_malformed(read: Any, value: Any) -> None:
    with pytest.raises(Malformed):
        read({"x": value}, "x")


def test_absent_fields() -> None:
    assert wire.text({}, "x", "d") == "d"
    assert wire.text({"x": None}, "x", "d") == "d"
    assert wire.whole({}, "x", 7) == 7
    assert wire.mapping({}, "x", optional=True) == {}
    assert wire.objects({}, "x") == []
    assert wire.objects({"x": [1, {"a": 1}]}, "x") == [{"a": 1}]
    assert wire.arguments({}, "x") == {}
    assert wire.arguments({"x": " "}, "x") == {}
    for read in (wire.text, wire.mapping, wire.sound):
        with pytest.raises(Malformed):
            read({}, "x")


@pytest.mark.parametrize("given", ['{"\\ud83d": ["\\ude00x", {"a": "é\\ud83d"}]}', {"\ud83d": ["\ude00x", {"a": "é\ud83d"}]}])
def test_arguments_can_be_handed_on(given: Any) -> None:
    found = wire.arguments({"x": given}, "x")
    assert found == {"?": ["?x", {"a": "é?"}]}
    json.dumps(found, ensure_ascii=False).encode()


def test_a_whole_emoji_in_arguments_stays_one() -> None:
    assert wire.arguments({"x": '{"a": "\\ud83d\\ude00"}'}, "x") == {"a": "😀"}
