"""Whatever is done to a session in whatever order, what it says keeps the rules that the conversation relies on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest

from pipit.core.tool import Declaration
from pipit.services import (
    Ended,
    Event,
    Opening,
    Ready,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    ToolCall,
    UserStarted,
    UserStopped,
    UserText,
)
from pipit.services.cascade.provider import build
from pipit.services.cascade.settings import Settings, TurnSettings
from tests import speech
from tests.services.cascade.talk import Talk, talking

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

REQUESTS = ("what time is it", "set a timer for five minutes", "what can you do", "louder", "please order twelve pizzas", "stop")
TOOLS = tuple(Declaration(name, "") for name in ("get_time", "set_timer", "set_volume", "end_conversation"))
STEPS = 25


def broken(events: Sequence[Event]) -> list[str]:
    """Return the rules that a sequence of events breaks."""
    problems, live, done, talking_, calls = list[str](), "", set[str](), False, set[str]()
    for event in events:
        match event:
            case ReplyStarted(reply=name):
                problems += [f"{name} began twice"] * (name in done) + [f"{name} began while {live} was being made"] * bool(live)
                live = name
            case ReplyAudio(reply=name) | ReplyText(reply=name):
                problems += [f"something of {name} while {live or 'nothing'} was being made"] * (name != live)
            case ReplyDone(reply=name):
                problems += [f"{name} ended while {live or 'nothing'} was being made"] * (name != live)
                done.add(name)
                live = ""
            case UserStarted():
                problems += ["the person began twice"] * talking_
                talking_ = True
            case UserStopped():
                problems += ["the person stopped without having begun"] * (not talking_)
                talking_ = False
            case UserText(text=text):
                problems += ["words out of nothing"] * (not text)
            case ToolCall(call=call):
                problems += [f"{call} was called twice"] * (call in calls)
                calls.add(call)
    return problems


async def act(talk: Talk, choice: random.Random) -> None:
    """Do something."""
    session, replies = talk.session, talk.of(ReplyStarted)
    match choice.randrange(9):
        case 0 | 1 | 2:
            await talk.hears(choice.choice(REQUESTS), pause_ms=choice.choice((100, 300, 500, 900)))
        case 3:
            await talk.silence(choice.choice((100, 400, 1000)))
        case 4:
            await session.interrupt(None, 0, by_service=False)
        case 5 if replies:
            await session.interrupt(replies[-1].reply, choice.randrange(3000), by_service=choice.random() < 0.5)
        case 6:
            await session.end_turn()
        case 7:
            await session.generate("Tell the person that dinner is ready.")
        case _:
            calls = talk.of(ToolCall)
            if calls:
                await session.tool_result(calls[-1].call, choice.choice(('{"time": "14:05"}', "rubbish", "{}")), is_error=False)
    await asyncio.sleep(choice.choice((0, 0, 0.01, 0.05)))


@pytest.mark.parametrize("seed", range(8))
async def test_the_rules_hold(seed: int) -> None:
    choice = random.Random(seed)
    made = build(Settings(greeting="Hello.", turn=TurnSettings(silence_ms=400, pause_ms=200)), "local")
    async with talking(made(Opening(tools=TOOLS))) as talk:
        await talk.until(Ready)
        for _ in range(STEPS):
            await act(talk, choice)
        await talk.session.close()
        await talk.reading
        assert broken(talk.events) == []
        assert isinstance(talk.events[-1], Ended)
        assert len(talk.of(UserStarted)) > 1
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
