"""A client for the tests: sends messages, keeps every event, waits for one. It knows no more of a protocol than a test tells it.

async with Client(server, "openai") as client:
    await client.send("input_audio_buffer.commit")
    error = await client.until("error")
"""

from __future__ import annotations

import asyncio
import base64
import json
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from pipit.rehearsal import Rehearsal
from tests import speech

RATE_HZ = 24000
PATIENCE_S = 10.0
BLOCK = RATE_HZ // 10
_AUDIO = {"openai": "input_audio_buffer.append", "assemblyai": "input.audio"}

Event = dict[str, Any]


def spoken(
    text: str, voice: str = "en-us", before_s: float = 0.3, after_s: float = 1.5, noise_dbfs: float = -55
) -> NDArray[np.int16]:
    """Return somebody who says something in a room, at 24 kHz."""
    clip = speech.say(text, voice=voice, rate_hz=RATE_HZ)
    return speech.timeline([(before_s, clip)], before_s + len(clip) / RATE_HZ + after_s, RATE_HZ, noise_dbfs)


class Client:
    """One connection to a server, or to its address."""

    def __init__(self, server: Rehearsal | str, protocol: str, query: str = "", **options: Any) -> None:
        self.events: list[Event] = []
        self.strange: list[str | bytes] = []
        """Messages that were no JSON objects."""
        self._url = (server if isinstance(server, str) else server.url(protocol)) + query
        self._protocol = protocol
        self._options = {"compression": None, "max_size": None, **options}
        self._seen = 0

    async def __aenter__(self) -> Self:
        self.socket: ClientConnection = await connect(self._url, **self._options)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.socket.close()

    async def send(self, kind: str, **fields: Any) -> None:
        """Send one event."""
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def speak(self, samples: NDArray[np.int16]) -> None:
        """Send sound, faster than real time."""
        for start in range(0, len(samples), BLOCK):
            await self.send(_AUDIO[self._protocol], audio=base64.b64encode(samples[start : start + BLOCK].tobytes()).decode())

    async def next(self) -> Event:
        """Return the next event; strange messages are put aside.

        Raises:
            ConnectionClosed: there is none.
            TimeoutError: none came for PATIENCE_S.
        """
        while True:
            async with asyncio.timeout(PATIENCE_S):
                message = await self.socket.recv()
            try:
                event = json.loads(message)
            except ValueError:
                event = None
            if isinstance(event, dict) and isinstance(event.get("type"), str):
                self.events.append(event)
                return event
            self.strange.append(message)

    async def until(self, kind: str, **fields: Any) -> Event:
        """Return the next event of a type and with these fields."""
        while True:
            event = await self.next()
            if event["type"] == kind and all(event.get(name) == value for name, value in fields.items()):
                return event

    async def until_closed(self) -> tuple[int | None, str | None]:
        """Take all that still comes; return code and reason of the close."""
        try:
            while True:
                await self.next()
        except ConnectionClosed:
            return self.socket.close_code, self.socket.close_reason

    def of(self, kind: str) -> list[Event]:
        """Return the events of a type so far."""
        return [event for event in self.events if event["type"] == kind]

    def kinds(self) -> list[str]:
        """Return the types so far, repetitions in a row once."""
        names = [event["type"] for event in self.events]
        return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]
