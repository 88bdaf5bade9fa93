"""What can be answered without a network: every sentence of the grammar, and the wordings of other recognisers."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.offline.recogniser import Recogniser
from pipit.offline.words import number_in
from pipit.services.budget import TOO_LONG
from pipit.services.cascade import Agent, Call, Instruction, Item, Result, Text, User
from pipit.services.cascade.offline_think import NOT_HERE, NOT_KNOWN, OfflineThink, build
from pipit.services.cascade.settings import HearSettings, Settings
from pipit.services.cascade.skills import HELP, find
from pipit.services.cascade.sphinx_hear import GRAMMAR, SphinxHear
from pipit.services.cascade.sphinx_hear import build as build_hear
from pipit.services.durable import WARNING
from pipit.tools import Controls
from pipit.tools.settings import Settings as ToolSettings
from pipit.tools.toolbox import make
from tests import speech

NOW = datetime(2026, 11, 21, 14, 5)


class Kitchen:
    """The real tools on a speaker that is only variables, and the offline thinker in front of them."""

    def __init__(self) -> None:
        self.level = 40.0
        controls = Controls(lambda: self.level, self.set_level, lambda label: None, lambda: NOW)
        self.tools = make(ToolSettings(), controls, lambda line: None)
        self.items: list[Item] = []
        self.used: list[str] = []
        self.left = False

    def set_level(self, level: float) -> None:
        self.level = level

    async def ask(self, request: str) -> str:
        """Return what is said to a request, after the tools that it takes have run."""
        self.items.append(User(request))
        return await self.answer()

    async def answer(self) -> str:
        declared = await self.tools.declarations()
        while True:
            [part] = [part async for part in OfflineThink().think(self.items, declared)]
            if isinstance(part, Text):
                self.items.append(Agent(part.text))
                return part.text
            outcome = await self.tools.run(part.name, json.loads(part.arguments))
            self.left = self.left or outcome.ends_conversation
            self.used.append(part.name)
            self.items += [Agent("", (part,)), Result(part.id, outcome.result)]


@pytest.fixture
async def kitchen() -> Any:
    made = Kitchen()
    yield made
    await made.tools.close()


@pytest.mark.parametrize(
    ("request_", "answer", "used"),
    [
        ("what time is it", "It is two oh five.", ["get_time"]),
        ("What's the date today?", "Today is Saturday, the twenty first of November.", ["get_time"]),
        ("set a timer for five minutes", "The timer is set for 5 minutes.", ["set_timer"]),
        ("Set a timer for 90 seconds.", "The timer is set for 1 minute and 30 seconds.", ["set_timer"]),
        ("start a twenty five minute timer", "The timer is set for 25 minutes.", ["set_timer"]),
        ("set a timer for half an hour", "The timer is set for 30 minutes.", ["set_timer"]),
        ("set a timer for an hour", "The timer is set for 1 hour.", ["set_timer"]),
        ("set a timer", "For how long? Say: set a timer for five minutes.", []),
        ("set a timer for one hundred hours", "Sorry, that is not possible.", ["set_timer"]),
        ("how much time is left", "No timer is running.", ["list_timers"]),
        ("cancel the timer", "No timer is running.", ["list_timers"]),
        ("louder", "The volume is 50 percent.", ["set_volume"]),
        ("turn it down", "The volume is 30 percent.", ["set_volume"]),
        ("set the volume to seventy percent", "The volume is 70 percent.", ["set_volume"]),
        ("volume 25 percent", "The volume is 25 percent.", ["set_volume"]),
        ("how loud are you", "The volume is 40 percent.", ["get_volume"]),
        ("what can you do", HELP, []),
        ("thank you", "You are welcome.", []),
        ("hey jarvis", "Yes?", []),
        ("stop", "Okay.", ["end_conversation"]),
        ("goodbye", "Goodbye.", ["end_conversation"]),
        ("who won the match", NOT_KNOWN, []),
    ],
)
async def test_requests(kitchen: Kitchen, request_: str, answer: str, used: list[str]) -> None:
    assert await kitchen.ask(request_) == answer
    assert kitchen.used == used
    assert kitchen.left == ("end_conversation" in used)


async def test_timers_are_told_and_cancelled(kitchen: Kitchen) -> None:
    await kitchen.ask("set a timer for five minutes")
    assert await kitchen.ask("how much time is left") == "There is 5 minutes left."
    await kitchen.ask("set a timer for two hours")
    assert await kitchen.ask("cancel the timer") == "There are 2 timers. Say: cancel all timers."
    assert await kitchen.ask("cancel all timers") == "All timers are cancelled."
    assert await kitchen.ask("which timers are running") == "No timer is running."


async def test_calls_have_ids_of_their_own(kitchen: Kitchen) -> None:
    await kitchen.ask("louder")
    await kitchen.ask("what time is it")
    calls = [call.id for item in kitchen.items if isinstance(item, Agent) for call in item.calls]
    assert len(set(calls)) == len(calls) == 2


async def test_what_is_turned_off_is_said_to_be() -> None:
    asked: list[Item] = [User("what time is it")]
    parts = [part async for part in OfflineThink().think(asked, (Declaration("lamp", "Switches the lamp."),))]
    assert parts == [Text(NOT_HERE)]


async def test_results_that_make_no_sense_are_no_crash() -> None:
    tools = (Declaration("get_time", "Returns the time."),)
    for result in ("", "[]", "null", '{"error": "no clock"}', "{}", '{"time": "noon"}', '{"time": null}'):
        items: list[Item] = [User("what time is it"), Agent("", (Call("c", "get_time", "{}"),)), Result("c", result)]
        [part] = [part async for part in OfflineThink().think(items, tools)]
        assert isinstance(part, Text)
        assert part.text.startswith("Sorry")


async def test_what_pipit_wants_to_be_told_is_told() -> None:
    told = build(Settings())
    said = [part async for part in told.think([User("hi"), Instruction(WARNING.format(left="about a minute", why=TOO_LONG))], ())]
    assert said == [Text(f"This conversation will end in about a minute, because {TOO_LONG}.")]
    assert [part async for part in told.think([Instruction("Go on from there.")], ())] == [Text("")]


# -- the grammar -------------------------------------------------------------------------------------------------------------------


def sentences() -> Iterator[str]:
    """Yield every request of the grammar; of numbers only a few."""
    text = re.sub(r"//.*", "", GRAMMAR.read_text())
    rules = {name: body for name, body in re.findall(r"<(\w+)> = (.*?);", text, re.DOTALL)}
    rules["count"] = "two | twenty | twenty one | one hundred"

    def spread(expression: str) -> set[str]:
        tokens = re.findall(r"[()\[\]|]|<\w+>|[\w']+", expression)
        found, rest = alternatives(tokens)
        assert rest == []
        return found

    def alternatives(tokens: list[str]) -> tuple[set[str], list[str]]:
        found: set[str] = set()
        while True:
            sequence, tokens = chain(tokens)
            found |= sequence
            if not tokens or tokens[0] != "|":
                return found, tokens
            tokens = tokens[1:]

    def chain(tokens: list[str]) -> tuple[set[str], list[str]]:
        found = {""}
        while tokens and tokens[0] not in "|)]":
            head, tokens = tokens[0], tokens[1:]
            if head in "([":
                inner, tokens = alternatives(tokens)
                tokens = tokens[1:]
                inner |= {""} if head == "[" else set()
            else:
                inner = spread(rules[head[1:-1]]) if head.startswith("<") else {head}
            found = {f"{before} {after}".strip() for before, after in itertools.product(found, inner)}
        return found, tokens

    yield from sorted(spread("<skill>"))


def test_every_request_of_the_grammar_is_known() -> None:
    found = list(sentences())
    assert len(found) > 80
    assert [sentence for sentence in found if find(sentence) is None] == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("five", 5),
        ("twenty five", 25),
        ("ninety", 90),
        ("12", 12),
        ("a hundred", 100),
        ("1.5", 1.5),
        ("half an", 0.5),
        ("many", None),
    ],
)
def test_numbers(text: str, number: float | None) -> None:
    assert number_in(text) == number


# -- hearing -----------------------------------------------------------------------------------------------------------------------

needs_voices = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(GRAMMAR)


def in_a_room(clip: speech.Samples) -> speech.Samples:
    return speech.timeline([(0.3, clip)], 0.9 + len(clip) / 16000, noise_dbfs=-50)


@needs_voices
@pytest.mark.parametrize("voice", ["en-us", "en-gb", "flite:slt"])
@pytest.mark.parametrize(
    "request_",
    [
        *("what time is it", "what is the date today", "set a timer for five minutes", "set a timer for twenty five minutes"),
        *("cancel the timer", "how much time is left", "louder", "turn the volume down", "set the volume to forty percent"),
        *("stop", "what can you do", "goodbye"),
    ],
)
def test_requests_are_understood(recogniser: Recogniser, request_: str, voice: str) -> None:
    assert recogniser.hear(in_a_room(speech.say(request_, voice=voice))).text == request_


@needs_voices
async def test_nobody_spoke_is_something_else_than_not_understood() -> None:
    hear = SphinxHear(GRAMMAR)
    await hear.open()
    assert await hear.hear(speech.noise(1.0, dbfs=-60)) in ("", None)
    assert await hear.hear(speech.noise(0.05)) == ""
    assert await hear.hear(in_a_room(speech.say("please order twelve pizzas for tomorrow"))) is None
    assert await hear.hear(in_a_room(speech.say("what time is it"))) == "what time is it"


def test_other_languages_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"service\.hear\.language: pocketsphinx understands English only"):
        build_hear(Settings(hear=HearSettings(language="de")))
