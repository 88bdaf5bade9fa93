"""What is read out of a stream of server-sent events, however its server writes it."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import completion_create_params
from pydantic import TypeAdapter

from pipit.core.tool import Declaration
from pipit.services.cascade import Agent, Call, Instruction, Item, Result, StageError, Text, User
from pipit.services.cascade.chat import SPOKEN, Answer, body

WEATHER = Declaration("get_weather", "Returns the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})


def reader(*taken: str) -> Answer:
    ids = itertools.count(1)
    return Answer(lambda: f"new_{next(ids)}", taken)


def line(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}).encode()


def end(reason: str = "stop") -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).encode()


def called(*fragments: dict[str, Any]) -> list[bytes]:
    return [line(tool_calls=[fragment]) for fragment in fragments]


def read(answer: Answer, *lines: bytes) -> tuple[str, list[Call]]:
    """Return the words and the calls of a whole answer."""
    parts = [*itertools.chain.from_iterable(map(answer.feed, lines)), *answer.finish()]
    return "".join(part.text for part in parts if isinstance(part, Text)), [part for part in parts if isinstance(part, Call)]


def test_words_with_what_is_around_them() -> None:
    lines = [
        *(b": OPENROUTER PROCESSING", b"", b"event: message", line(role="assistant", content=""), line(content="Four ")),
        *(b'data:{"choices":[{"delta":{"content":"degrees."}}]}', end(), b'data: {"choices":[],"usage":{"total_tokens":40}}'),
        b"data: [DONE]",
    ]
    assert read(reader(), *lines) == ("Four degrees.", [])


def test_a_refusal_is_spoken() -> None:
    assert read(reader(), line(content=None, refusal="I cannot do that."), end()) == ("I cannot do that.", [])


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "reasoning_details"])
def test_reasoning_is_not_spoken(field: str) -> None:
    assert read(reader(), line(**{field: "Let me think."}), line(content="Yes."), end()) == ("Yes.", [])


@given(st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_thoughts_between_tags_are_not_spoken_wherever_they_are_cut(sizes: list[int]) -> None:
    text, pieces = "<think>Is 3 < 4? </ no</think>\n\nYes, 3 < 4 <thin", list[str]()
    for size in itertools.cycle(sizes):
        if not text:
            break
        pieces.append(text[:size])
        text = text[size:]
    words, _ = read(reader(), *(line(content=piece) for piece in pieces), end())
    assert words.strip() == "Yes, 3 < 4 <thin"


RIGA = Call("call_1", "get_weather", '{"city":"Riga"}')
ALL_SHAPES: dict[str, list[dict[str, Any]]] = {
    "pieces": [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"city"'}},
        {"index": 0, "function": {"arguments": ':"Riga"}'}},
    ],
    "whole": [{"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city":"Riga"}'}}],
    "no index": [
        {"id": "call_1", "function": {"name": "get_weather", "arguments": '{"city"'}},
        {"function": {"arguments": ':"Riga"}'}},
    ],
    "the name repeated": [
        {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city"'}},
        {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": ':"Riga"}'}},
    ],
    "empty id and name later": [
        {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": '{"city"'}},
        {"index": 0, "id": "", "function": {"name": "", "arguments": ':"Riga"}'}},
    ],
    "null for what is missing": [
        {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": None}},
        {"index": 0, "id": None, "function": {"name": None, "arguments": '{"city":"Riga"}'}},
    ],
}


@pytest.mark.parametrize("shape", ALL_SHAPES)
@pytest.mark.parametrize("reason", ["tool_calls", "stop"])
def test_calls_in_all_shapes(shape: str, reason: str) -> None:
    assert read(reader(), *called(*ALL_SHAPES[shape]), end(reason)) == ("", [RIGA])


def test_arguments_may_be_an_object() -> None:
    fragment = {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": {"city": "Rīga"}}}
    _, [call] = read(reader(), *called(fragment), end())
    assert json.loads(call.arguments) == {"city": "Rīga"}


def test_a_call_without_an_id_gets_one() -> None:
    fragment = {"index": 0, "id": "", "function": {"name": "get_weather", "arguments": "{}"}}
    assert read(reader(), *called(fragment), end())[1] == [Call("new_1", "get_weather", "{}")]


def test_an_id_that_was_there_before_is_replaced() -> None:
    assert read(reader("call_1"), *called(*ALL_SHAPES["whole"]), end())[1] == [Call("new_1", RIGA.name, RIGA.arguments)]


@pytest.mark.parametrize(
    "fragments",
    [
        [{"index": 0, "id": "a", "function": {"name": "x", "arguments": "{}"}}, {"index": 1, "id": "b", "function": {"name": "y"}}],
        [{"id": "a", "function": {"name": "x", "arguments": "{}"}}, {"id": "b", "function": {"name": "y", "arguments": "{}"}}],
        [
            {"index": 0, "id": "a", "function": {"name": "x", "arguments": "{}"}},
            {"index": 0, "id": "b", "function": {"name": "y", "arguments": {}}},
        ],
    ],
    ids=["by index", "by id", "all with index 0"],
)
def test_several_calls(fragments: list[dict[str, Any]]) -> None:
    _, calls = read(reader(), *called(*fragments), end())
    assert calls == [Call("a", "x", "{}"), Call("b", "y", "{}")]


def test_several_whole_calls_without_index_and_id() -> None:
    fragments = [{"function": {"name": name, "arguments": {"n": 1}}} for name in ("x", "x")]
    _, calls = read(reader(), *called(*fragments), end())
    assert [call.name for call in calls] == ["x", "x"]
    assert len({call.id for call in calls}) == 2


def test_interleaved_fragments_find_their_calls() -> None:
    fragments = [
        {"index": 0, "id": "a", "function": {"name": "x", "arguments": '{"n":'}},
        {"index": 1, "id": "b", "function": {"name": "y", "arguments": '{"m":'}},
        {"index": 0, "function": {"arguments": "1}"}},
        {"index": 1, "function": {"arguments": "2}"}},
    ]
    _, calls = read(reader(), *called(*fragments), end())
    assert calls == [Call("a", "x", '{"n":1}'), Call("b", "y", '{"m":2}')]


def test_the_legacy_call() -> None:
    lines = [line(function_call={"name": "x", "arguments": '{"n":'}), line(function_call={"arguments": "1}"}), end("function_call")]
    assert read(reader(), *lines) == ("", [Call("new_1", "x", '{"n":1}')])


def test_words_before_a_call_are_spoken() -> None:
    assert read(reader(), line(content="Let me look."), *called(*ALL_SHAPES["whole"]), end()) == ("Let me look.", [RIGA])


def test_an_answer_that_is_not_streamed_is_taken_as_well() -> None:
    answer = reader()
    message = {"role": "assistant", "content": "Hi.", "tool_calls": ALL_SHAPES["whole"]}
    data = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    assert [*answer.whole(data), *answer.finish()] == [Text("Hi."), RIGA]
    with pytest.raises(StageError, match="no chat completion"):
        reader().whole(b"<html>")


@pytest.mark.parametrize(
    ("lines", "kind", "words"),
    [
        ([line(content="Once upon")], "retryable", "broke off"),
        ([], "retryable", "broke off"),
        ([line(content="Once"), b'data: {"error":{"message":"overloaded"}}'], "retryable", r"failed in the middle.*overloaded"),
        ([b'data: {"error":"overloaded"}'], "retryable", "overloaded"),
        ([end("content_filter")], "benign", "content filter"),
        ([end()], "benign", "empty"),
        ([b"data: {", b"data: [DONE]"], "benign", "made no sense"),
    ],
)
def test_what_goes_wrong(lines: list[bytes], kind: str, words: str) -> None:
    with pytest.raises(StageError, match=words) as error:
        read(reader(), *lines)
    assert error.value.kind == kind


def test_the_end_mark_alone_is_an_end() -> None:
    assert read(reader(), line(content="Hi."), b"data: [DONE]") == ("Hi.", [])


@given(st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), max_size=8))
def test_rubbish_never_raises_anything_else(lines: list[bytes]) -> None:
    answer = reader()
    with contextlib.suppress(StageError):
        read(answer, *lines, *(b"data: " + rubbish for rubbish in lines))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FRAGMENT = st.fixed_dictionaries(
    {},
    optional={"index": JSON, "id": JSON, "function": st.fixed_dictionaries({}, optional={"name": JSON, "arguments": JSON}) | JSON},
)


@given(
    st.lists(st.fixed_dictionaries({}, optional={"content": JSON, "tool_calls": st.lists(FRAGMENT, max_size=3) | JSON}), max_size=5)
)
def test_fields_of_any_type_never_raise_anything_else(deltas: list[dict[str, Any]]) -> None:
    try:
        _, calls = read(reader(), *(line(**delta) for delta in deltas), end())
    except StageError:
        return
    assert len({call.id for call in calls}) == len(calls)
    assert all(call.id and call.name for call in calls)


def test_the_request_is_one_that_openai_takes() -> None:
    items: list[Item] = [
        User("Weather?"),
        Agent("Let me look.", (RIGA,)),
        Result("call_1", '{"temp_c":4}'),
        Agent("Four degrees."),
        User("Thanks"),
        Agent("", (Call("call_2", "get_weather", "{}"),)),
        Result("call_2", "{}"),
        Instruction("Say goodbye."),
    ]
    asked = body("m", "Be brief.", items, (WEATHER,), {"reasoning_effort": "low"})
    TypeAdapter(completion_create_params.CompletionCreateParams).validate_python(asked)
    assert asked["messages"][0] == {"role": "system", "content": f"Be brief.\n\n{SPOKEN}"}
    assert asked["messages"][2]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city":"Riga"}'}
    assert asked["messages"][6]["content"] is None
    assert asked["reasoning_effort"] == "low"
    assert "tools" not in body("m", "", items, (), {})
