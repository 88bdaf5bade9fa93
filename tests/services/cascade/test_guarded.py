"""How long the stages are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from pipit.services.cascade import Sample, Sound, Speak, StageError, espeak_speak, offline_think, sphinx_hear
from pipit.services.cascade.guarded import Stages
from pipit.services.cascade.settings import Settings
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

READ_S = 0.2
SENTENCES = ("One.", " Two.", " Three.")


class Reader:
    """A voice that takes all text as it comes, as one behind a socket does, and makes a sound for each piece.

    Args:
        sounds: how many it makes before it falls silent; None: all.
    """

    rate_hz = 1000

    def __init__(self, sounds: int | None = None) -> None:
        self._sounds = sounds

    async def open(self) -> None:
        pass

    async def release(self) -> None:
        pass

    async def speak(self, text: AsyncIterator[str], like: Sample | None = None) -> AsyncGenerator[Sound, None]:
        made: asyncio.Queue[str | None] = asyncio.Queue()

        async def read() -> None:
            async for piece in text:
                made.put_nowait(piece)
            made.put_nowait(None)

        reading, count = asyncio.create_task(read()), 0
        try:
            while (piece := await made.get()) is not None:
                if count == self._sounds:
                    await asyncio.Event().wait()
                count += 1
                yield Sound(piece.encode())
        finally:
            reading.cancel()
            await asyncio.wait((reading,))


async def voiced(speak: Speak, *pauses_s: float) -> list[Sound]:
    """Have sentences spoken, each written so long after the one before; the end comes at once."""
    settings = Settings()

    async def written() -> AsyncIterator[str]:
        for sentence, pause_s in zip(SENTENCES, pauses_s, strict=False):
            if pause_s:
                await asyncio.sleep(pause_s)
            yield sentence

    stages = Stages(sphinx_hear.build(settings), offline_think.build(settings), speak, 5.0, READ_S)
    async with asyncio.timeout(20), aclosing(stages.voice(written(), None)) as sounds:
        return [sound async for sound in sounds]


@pytest.mark.parametrize("speak", [Reader(), espeak_speak.build(Settings())], ids=["all text at once", "by sentence"])
async def test_a_model_that_writes_slowly_is_no_silence_of_the_voice(speak: Speak) -> None:
    assert await voiced(speak, 2 * READ_S, 0.0, 2 * READ_S) != []


@pytest.mark.parametrize("sounds", [0, 1, 2])
@pytest.mark.parametrize("pauses_s", [(0.0, 0.0, 0.0), (0.0, 0.1, 0.1), (0.0, 0.0, 2 * READ_S)])
async def test_a_voice_that_falls_silent_is_not_waited_for(sounds: int, pauses_s: tuple[float, ...]) -> None:
    with pytest.raises(StageError, match=r"^text to speech: was silent for 0\.2 s$") as error:
        await voiced(Reader(sounds), *pauses_s)
    assert error.value.kind == "retryable"


async def test_it_is_not_waited_for_until_the_model_has_written_more() -> None:
    asked_for = 0

    async def written() -> AsyncIterator[str]:
        nonlocal asked_for
        for sentence in SENTENCES:
            asked_for += 1
            yield sentence
            await asyncio.sleep(20)

    settings = Settings()
    stages = Stages(sphinx_hear.build(settings), offline_think.build(settings), Reader(0), 5.0, READ_S)
    async with asyncio.timeout(10), aclosing(stages.voice(written(), None)) as sounds:
        with pytest.raises(StageError, match="was silent"):
            await anext(sounds)
    assert asked_for == 1
