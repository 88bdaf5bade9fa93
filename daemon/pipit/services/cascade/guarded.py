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
        """See `Speak.speak`. Silence counts while sound is due: not once all text so far is spoken and more is waited for."""
        watch = _Watch(self.read_s)
        with _titled("speak"):
            async with aclosing(watch.text(text)) as taken, aclosing(self.speak.speak(taken, like)) as sounds:
                while (sound := await watch.within(anext(sounds, None))) is not None:
                    yield sound


class _Watch:
    """Waits for sound, and knows when it is due.

    Args:
        read_s: longest silence while it is.
    """

    def __init__(self, read_s: float) -> None:
        self._read_s = read_s
        self._patience: asyncio.Timeout | None = None
        self._due: float | None = None
        self._is_owed = False
        """Text was taken since the last sound."""
        self._is_waiting = False
        """The stage waits for text."""

    async def text(self, text: AsyncIterator[str]) -> AsyncGenerator[str, None]:
        """Yield the text that the stage takes."""
        self._wait()
        async for piece in text:
            self._is_owed, self._is_waiting = True, False
            self._count()
            yield piece
            self._wait()
        self._is_waiting = False
        self._count()

    async def within(self, sound: Awaitable[Sound | None]) -> Sound | None:
        """Return the next sound; None: there is none.

        Raises:
            StageError: it was due and did not come.
        """
        try:
            async with asyncio.timeout_at(self._due) as self._patience:
                found = await sound
        except TimeoutError:
            raise StageError("retryable", f"was silent for {self._read_s:g} s") from None
        finally:
            self._patience = None
        self._is_owed = False
        self._count()
        return found

    def _wait(self) -> None:
        self._is_waiting = True
        if not self._is_owed:
            self._count()

    def _count(self) -> None:
        """Count the silence from now on, unless it is for the model to go on."""
        self._due = None if self._is_waiting else asyncio.get_running_loop().time() + self._read_s
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._due)


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
