"""Talking to a cascade's session: sound goes in as from a microphone, events are collected."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from pipit.core.options import Secret
from pipit.rehearsal import Rehearsal
from pipit.services import Event, ReplyAudio, ReplyText, Session, ToolCall, UserText
from pipit.services.cascade.settings import HearSettings, Settings, SpeakSettings, ThinkSettings, TurnSettings
from tests import speech

FRAME = 640
"""40 ms, as the conversation sends it."""

_E = TypeVar("_E", bound=Event)


def at(server: Rehearsal, *, hear: str = "openai", speak: str = "espeak-ng", key: str = "k", **options: Any) -> Settings:
    """Return the settings of a cascade whose stages are the rehearsal's, but for those that are on this device."""
    turn = options.pop("turn", TurnSettings())
    return Settings(
        hear=HearSettings(engine=hear, url=f"{server.http}/v1" if hear == "openai" else server.http, api_key=Secret(key)),
        think=ThinkSettings(engine="chat", url=f"{server.http}/v1", model="m", api_key=Secret(key), **options.pop("think", {})),
        speak=SpeakSettings(engine=speak, url=server.http if speak == "fish" else None, api_key=Secret(key)),
        turn=turn,
        **{"connect_s": 5.0, "read_s": 5.0, **options},
    )


class Talk:
    """A session, and what it has said so far.

    Args:
        session: a new one.
        tools: name -> result; others are not answered.
    """

    def __init__(self, session: Session, tools: Mapping[str, Any] | None = None) -> None:
        self.session = session
        self.events: list[Event] = []
        self.tools = dict(tools or {})
        self._changed = asyncio.Condition()
        self._noise = np.empty(0, np.int16)

    async def __aenter__(self) -> Self:
        self.reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        async with asyncio.timeout(5):
            await self.session.close()
            if kind is None:
                await self.reading
            else:
                self.reading.cancel()

    async def _read(self) -> None:
        async for event in self.session.events():
            async with self._changed:
                self.events.append(event)
                self._changed.notify_all()
            if isinstance(event, ToolCall) and event.name in self.tools:
                await self.session.tool_result(event.call, json.dumps(self.tools[event.name]), is_error=False)

    def of(self, kind: type[_E]) -> list[_E]:
        """Return the events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[_E], count: int = 1, when: Callable[[_E], bool] = lambda _: True) -> _E:
        """Wait for the so-manieth event of a kind that fits; return it."""

        def found() -> list[_E]:
            return [event for event in self.of(kind) if when(event)]

        async with self._changed:
            try:
                async with asyncio.timeout(15):
                    await self._changed.wait_for(lambda: len(found()) >= count)
            except TimeoutError:
                raise AssertionError(
                    f"no {kind.__name__} number {count} in {[e for e in self.events if not isinstance(e, ReplyAudio)]}"
                ) from None
        return found()[count - 1]

    async def hears(self, text: str, pause_ms: int = 800, voice: str = "en-gb") -> None:
        """Say something, and then nothing for a while."""
        await self.sound(speech.say(text, voice=voice))
        await self.silence(pause_ms)

    async def silence(self, duration_ms: int) -> None:
        """Send the noise of a quiet room."""
        await self.sound(np.zeros(duration_ms * 16, np.int16))

    async def sound(self, samples: speech.Samples) -> None:
        """Send sound over room noise, as fast as it is taken."""
        self._noise = speech.noise(1.0, dbfs=-60) if not len(self._noise) else self._noise
        padded = np.pad(samples, (0, -len(samples) % FRAME))
        for start in range(0, len(padded), FRAME):
            frame = padded[start : start + FRAME] + self._noise[start % 12800 : start % 12800 + FRAME]
            await self.session.audio(frame.astype(np.int16).tobytes())
        await asyncio.sleep(0)

    @property
    def heard(self) -> list[str]:
        """What was transcribed."""
        return [event.text for event in self.of(UserText)]

    def said(self, reply: str) -> str:
        """Return the words of a reply."""
        return "".join(event.text for event in self.of(ReplyText) if event.reply == reply).strip()

    def pcm(self, reply: str) -> bytes:
        """Return the sound of a reply."""
        return b"".join(event.pcm for event in self.of(ReplyAudio) if event.reply == reply)


@contextlib.asynccontextmanager
async def talking(session: Session, tools: Mapping[str, Any] | None = None) -> AsyncIterator[Talk]:
    """Open a session; everything within half a minute."""
    async with asyncio.timeout(30), Talk(session, tools) as talk:
        yield talk
