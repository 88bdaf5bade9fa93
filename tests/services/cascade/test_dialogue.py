from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipit.services import Line
from pipit.services.cascade import Agent, Call, Result, User
from pipit.services.cascade.dialogue import CANCELLED, ITEMS, Dialogue
from pipit.services.cascade.script import Script

CALL = Call("c1", "lamp", "{}")


def script(*sentences: str) -> Script:
    made = Script(1000)
    for sentence in sentences:
        made.add(sentence, sentence)
        made.sound(np.full(1000, 1000, np.int16), None)
    return made


def test_what_was_said_before_comes_first() -> None:
    dialogue = Dialogue((Line(False, "Is it raining?"), Line(True, "No.")))
    dialogue.user("Thanks")
    assert dialogue.items() == [User("Is it raining?"), Agent("No."), User("Thanks")]


def test_a_reply_grows_and_is_cut() -> None:
    dialogue = Dialogue()
    said = script("One two three.")
    dialogue.reply("r", said)
    assert dialogue.items() == [Agent("One two three.")]
    said.finish()
    dialogue.heard("r", 0)
    assert dialogue.items() == []


def test_every_call_has_a_result() -> None:
    dialogue = Dialogue()
    dialogue.reply("r", script())
    dialogue.call("r", CALL)
    assert dialogue.items() == [Agent("", (CALL,)), Result("c1", CANCELLED)]
    dialogue.result("c1", '{"on": true}')
    assert dialogue.items() == [Agent("", (CALL,)), Result("c1", '{"on": true}')]


def test_results_of_calls_that_nobody_made_are_nothing() -> None:
    dialogue = Dialogue()
    before = dialogue.version
    dialogue.result("c9", "{}")
    dialogue.heard("r9", 100)
    assert (dialogue.items(), dialogue.version) == ([], before)


def test_every_change_changes_the_version() -> None:
    dialogue = Dialogue()
    versions = [dialogue.version]
    changes: list[Callable[[], None]] = [
        lambda: dialogue.user("Hi"),
        lambda: dialogue.reply("r", script("Hello.")),
        lambda: dialogue.call("r", CALL),
        lambda: dialogue.result("c1", "{}"),
        lambda: dialogue.heard("r", 10),
    ]
    for change in changes:
        change()
        versions.append(dialogue.version)
    assert len(set(versions)) == len(versions)


def test_a_long_dialogue_is_told_from_something_the_person_said() -> None:
    dialogue = Dialogue()
    for number in range(ITEMS):
        dialogue.user(f"Question {number}")
        dialogue.reply(f"r{number}", script())
        dialogue.call(f"r{number}", Call(f"c{number}", "lamp", "{}"))
        dialogue.result(f"c{number}", "{}")
    dialogue.user("And now?")  # so that the oldest would be an answer
    items = dialogue.items()
    assert len(items) <= ITEMS
    assert isinstance(items[0], User)
    calls = {call.id for item in items if isinstance(item, Agent) for call in item.calls}
    assert calls == {item.call for item in items if isinstance(item, Result)}
