"""Which tools the rehearsal's agent calls for a request, with which arguments, and what it makes of the results."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from pipit.offline.recogniser import Recogniser
from pipit.rehearsal import skills
from pipit.rehearsal.tools import told, wanted
from tests import speech
from tests.rehearsal.test_recogniser import VOICES, in_a_room


def tool(name: str, *parameters: str) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {key: {} for key in parameters}}}


HOME = [
    *(tool("get_volume"), tool("set_volume", "level", "change"), tool("set_timer", "seconds", "label"), tool("list_timers")),
    *(tool("get_time"), tool("lamp", "state"), tool("weather")),
]


@pytest.mark.parametrize(
    ("request_", "name", "arguments"),
    [
        ("turn the volume up", "set_volume", {"change": 10}),
        ("turn the volume down", "set_volume", {"change": -10}),
        ("make it louder", "set_volume", {"change": 10}),
        ("Make it softer, please", "set_volume", {"change": -10}),
        ("set the volume to fifty", "set_volume", {"level": 50}),
        ("set a timer for ten seconds", "set_timer", {"seconds": 10}),
        ("set a timer for five minutes", "set_timer", {"seconds": 300}),
        ("look at the clock", "get_time", {}),
        ("switch the light on", "lamp", {"state": "on"}),
        ("how is the weather", "weather", {}),
        ('set the volume {"level": 7}', "set_volume", {"level": 7}),
    ],
)
def test_a_request_leads_to_a_call(request_: str, name: str, arguments: dict[str, Any]) -> None:
    assert wanted(request_, HOME) == skills.Call(name, arguments)


@pytest.mark.parametrize("request_", ["", "order twelve pizzas", "who are you", "set the volume {oops"])
def test_what_no_tool_is_for_or_says_no_arguments(request_: str) -> None:
    call = wanted(request_, HOME)
    assert call is None or call.arguments == {}
    assert wanted(request_, []) is None


def test_minutes_are_given_as_the_tool_wants_them() -> None:
    assert wanted("set a timer for two minutes", [tool("timer", "minutes")]) == skills.Call("timer", {"minutes": 2})
    assert wanted("set a timer for ten seconds", [{"name": "timer"}]) == skills.Call("timer", {})


@pytest.mark.parametrize(
    ("result", "is_error", "sentence"),
    [
        ('{"level": 40}', False, "Done: level 40."),
        ('{"time": "08:05", "date": "2026-11-05"}', False, "It is eight oh five."),
        ("{}", False, "Done: nothing to tell."),
        ("It rains.", False, "Done: It rains."),
        ("[1]", False, "Done: [1]."),
        ('{"error": "lamp offline"}', True, "That did not work: lamp offline."),
        ('Error: {"error": "no"}', False, 'That did not work: Error: {"error": "no"}.'),
        ("too late", True, "That did not work: too late."),
    ],
)
def test_results_are_told(result: str, is_error: bool, sentence: str) -> None:
    assert told([(result, is_error)]).sentences == (sentence,)


def test_every_sentence_of_the_grammar_leads_to_a_call_and_no_skill_is_in_the_way() -> None:
    sentences = list(spoken_sentences())
    assert len(sentences) > 10
    for sentence in sentences:
        assert wanted(sentence, HOME) is not None, sentence
        assert not skills.knows(sentence), sentence


def spoken_sentences() -> list[str]:
    """Return every sentence of the alternatives that skills.gram has for <tool>."""
    grammar = Path(skills.__file__).with_name("skills.gram").read_text()
    rules = dict(re.findall(r"<(\w+)> = (.*?);", grammar, re.DOTALL))
    found = []
    for name in re.findall(r"<(\w+)>", rules["tool"]):
        text = rules[name].replace("<number>", f"({rules['number']})")
        for alternative in re.split(r"\|(?![^(]*\))", text):
            parts = [part.split("|") for part in re.split(r"[()]", alternative)]
            found += [" ".join(" ".join(words).split()) for words in product(*parts)]
    return found


@pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))
@pytest.mark.parametrize("voice", VOICES)
def test_they_are_understood_when_spoken(voice: str) -> None:
    recogniser = Recogniser(Path(skills.__file__).with_name("skills.gram"))
    for sentence in ("look at the clock", "turn the volume up", "make it softer", "set a timer for ten seconds"):
        assert recogniser.hear(in_a_room(speech.say(sentence, voice=voice))).text == sentence
