"""The table of services, for what is chained on this device: each cell is a test, named test_cell[SERVICE-CAPABILITY]."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import cache

import pytest

from pipit.core.tool import Declaration
from pipit.rehearsal import Conduct, Rehearsal
from pipit.services import NEW, Opener, Opening, Ready, ReplyAudio, ReplyDone, ReplyText, ToolCall, UserStopped
from pipit.services.cascade.provider import build
from pipit.services.cascade.settings import Settings
from tests import speech
from tests.services.cascade.talk import at, talking
from tests.services.test_capabilities import CELLS, COLUMNS

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

CLOCK = Declaration("get_time", "Returns the time.")
GREETING = "Kitchen here."


@contextlib.asynccontextmanager
async def opener(name: str) -> AsyncIterator[Opener]:
    if name == "local":
        yield build(Settings(greeting=GREETING), name)
        return
    async with Rehearsal(conduct=Conduct(think_s=0.0)) as server:
        yield build(at(server, hear="fish", speak="fish", greeting=GREETING), name)


@cache
def facts(name: str) -> dict[str, str]:
    """Hold a conversation; return what it showed, by column."""
    return asyncio.run(_facts(name))


async def _facts(name: str) -> dict[str, str]:
    async with (
        asyncio.timeout(40),
        opener(name) as made,
        talking(made(Opening(tools=(CLOCK,))), {"get_time": {"time": "14:05", "date": "2026-11-21"}}) as talk,
    ):
        session = talk.session
        ready = await talk.until(Ready)
        greeted = await talk.until(ReplyDone)
        await talk.hears("what time is it")
        await talk.until(UserStopped)
        called = await talk.until(ToolCall)
        answered = await talk.until(ReplyDone, 2)
        # It answers; the person talks over the answer as soon as it sounds.
        await talk.hears("what can you do" if name == "local" else "tell me a joke", pause_ms=800)
        await talk.until(ReplyAudio, when=lambda sound: sound.reply not in (greeted.reply, answered.reply))
        spoken = talk.of(ReplyAudio)[-1].reply
        await session.interrupt(spoken, 300, by_service=False)
        await talk.silence(200)
        again = made(NEW).capabilities
        return {
            COLUMNS[0]: f"{session.input_rate_hz / 1000:g}/{session.output_rate_hz / 1000:g}",
            COLUMNS[1]: "Pipit" if talk.of(UserStopped) else "service",
            COLUMNS[2]: "voice, button" if session.capabilities.interrupt and session.capabilities.speech_interrupts else "button",
            COLUMNS[3]: "yes" if session.capabilities.truncate else "no",
            COLUMNS[4]: "yes" if called.name == "get_time" and talk.pcm(answered.reply) else "no",
            COLUMNS[5]: "yes" if talk.heard[0] == "what time is it" else "no",
            COLUMNS[6]: "yes" if [event for event in talk.of(ReplyText) if event.reply == answered.reply] else "no",
            COLUMNS[7]: "word for word" if talk.said(greeted.reply) == GREETING and talk.pcm(greeted.reply) else "no",
            COLUMNS[8]: "greeting" if talk.said(greeted.reply) == GREETING else "no",
            COLUMNS[9]: "no" if not ready.resume and not again.resume_s else "yes",
            COLUMNS[10]: "not needed" if again.max_session_s is None else "needed",
        }


@pytest.mark.parametrize("capability", COLUMNS)
@pytest.mark.parametrize("service", ["fish", "local"])
def test_cell(service: str, capability: str) -> None:
    assert facts(service)[capability] == CELLS[service][COLUMNS.index(capability)]
