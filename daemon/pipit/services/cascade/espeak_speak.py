"""Speaks with espeak-ng: on this device, at once, and like a robot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from pipit.errors import ConfigError
from pipit.offline import espeak
from pipit.services.cascade import Sample, Sound, Speak, StageError
from pipit.services.cascade.settings import Settings

RATE_HZ = 22050
"""Of espeak-ng itself, so nothing is converted here."""

VOICE = "en-gb"


def build(settings: Settings) -> Speak:
    """Return the stage.

    Raises:
        ConfigError: espeak-ng is not installed, or something is set that it does not have.
    """
    try:
        espeak.check()
    except ConfigError as error:
        raise ConfigError(*(f"service.speak.engine: {problem}" for problem in error.problems)) from error
    return EspeakSpeak(settings.voice or VOICE, round(espeak.WORDS_PER_MINUTE * settings.speak.speed))


class EspeakSpeak:
    """See `Speak`.

    Args:
        voice: as `espeak-ng --voices` lists them.
        words_per_minute: 80 to 450.
    """

    rate_hz = RATE_HZ

    def __init__(self, voice: str, words_per_minute: int) -> None:
        self._voice = voice
        self._words_per_minute = words_per_minute

    async def open(self) -> None:
        """Nothing is to be opened: a process takes a few ms."""

    async def release(self) -> None:
        """Nothing is open."""

    async def speak(self, text: AsyncIterator[str], like: Sample | None = None) -> AsyncGenerator[Sound, None]:
        """See `Speak.speak`; one process for each sentence."""
        spoken = 0
        async for sentence in text:
            spoken += len(sentence)
            try:
                async with aclosing(espeak.speak(sentence.strip(), RATE_HZ, self._voice, self._words_per_minute)) as pieces:
                    async for pcm in pieces:
                        yield Sound(pcm)
            except (asyncio.IncompleteReadError, OSError, ConfigError) as error:
                why = error if isinstance(error, ConfigError) else f"espeak-ng did not speak with the voice {self._voice}"
                raise StageError("config", f"{why}; check service.voice") from error
            yield Sound(b"", spoken)
