"""The stages with their deadlines: whatever a stage leaves undone is waited for only so long, and it is said which it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipit.core.tool import Declaration
from pipit.services.cascade import Call, Hear, Item, Sample, Sound, Speak, Stage, StageError, Text, Think

Name = Literal["hear", "think", "speak"]
NAMES: tuple[Name, ...] = ("hear", "think", "speak")

_TITLES: dict[Name, str] = {"hear": "speech to text", "think": "language model", "speak": "text to speech"}
_RELEASE_S = 0.5
"""Letting go of all stages takes no longer: a session is over within a second."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Stages:
    """The three of them, built once for all sessions.

    Args:
        hear: speech to text.
        think: the language model.
        speak: text to speech.
        connect_s: longest time until one is open.
        read_s: longest silence of one while something is due.
    """

    hear: Hear
    think: Think
    speak: Speak
    connect_s: float
    read_s: float

    async def open(self, name: Name) -> None:
        """See `Stage.open`; raises StageError, as everything here."""
        stage: Stage = getattr(self, name)
        with _titled(name):
            await _within(self.connect_s, stage.open(), "was not ready")

    async def release(self) -> None:
        """See `Stage.release`."""
        stages: tuple[Stage, ...] = (self.hear, self.think, self.speak)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RELEASE_S):
                await asyncio.gather(*(stage.release() for stage in stages))

    async def transcribe(self, samples: NDArray[np.int16]) -> str | None:
        """See `Hear.hear`."""
        with _titled("hear"):
            return await _within(self.read_s, self.hear.hear(samples), "did not answer")

    async def answer(self, items: Sequence[Item], tools: Sequence[Declaration]) -> AsyncGenerator[Text | Call, None]:
        """See `Think.think`."""
        with _titled("think"):
            async with aclosing(self.think.think(items, tools)) as parts:
                while (part := await _within(self.read_s, anext(parts, None), "was silent")) is not None:
                    yield part

    async def voice(self, text: AsyncIterator[str], like: Sample | None) -> AsyncGenerator[Sound, None]:
        """See `Speak.speak`. Silence counts from the latest text or sound."""
        loop = asyncio.get_running_loop()
        patience: asyncio.Timeout | None = None
        due: float | None = None

        async def watched() -> AsyncIterator[str]:
            nonlocal due
            async for piece in text:
                due = loop.time() + self.read_s
                if patience is not None:
                    patience.reschedule(due)
                yield piece

        with _titled("speak"):
            async with aclosing(self.speak.speak(watched(), like)) as sounds:
                while True:
                    try:
                        async with asyncio.timeout_at(due) as patience:
                            sound = await anext(sounds, None)
                    except TimeoutError:
                        raise StageError("retryable", f"was silent for {self.read_s:g} s") from None
                    patience = None
                    if sound is None:
                        return
                    due = loop.time() + self.read_s
                    yield sound


async def _within(seconds: float, work: Awaitable[_T], failing: str) -> _T:
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise StageError("retryable", f"{failing} within {seconds:g} s") from None


@contextlib.contextmanager
def _titled(name: Name) -> Iterator[None]:
    try:
        yield
    except StageError as error:
        raise StageError(error.kind, f"{_TITLES[name]}: {error.reason}") from error
