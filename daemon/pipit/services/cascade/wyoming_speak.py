"""Speaks with a server at home that speaks the Wyoming protocol, such as Piper."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import numpy as np

from pipit.core.pcm import Joiner, Resampler
from pipit.errors import ConfigError
from pipit.services.cascade import Sample, Sound, Speak, StageError
from pipit.services.cascade.settings import Settings
from pipit.services.cascade.wyoming import connected, problems, reach
from pipit.services.wire import Malformed, whole

RATE_HZ = 22050
"""Of Piper's usual voices; others are converted."""


def build(settings: Settings) -> Speak:
    """Return the stage.

    Raises:
        ConfigError: the address is missing or cannot be used, or something is set that the protocol does not have.
    """
    url = settings.speak.url
    wrong = problems(url, "service.speak.url", "tcp://127.0.0.1:10200", insecure=settings.insecure)
    if settings.speak.speed != 1:
        wrong.append("service.speak.speed: Wyoming servers have their own settings for it; leave it at 1")
    if wrong or url is None:
        raise ConfigError(*wrong)
    return WyomingSpeak(url, settings.voice, settings.connect_s)


class WyomingSpeak:
    """See `Speak`.

    Args:
        url: tcp://HOST:PORT.
        voice: None: the server's default.
        connect_s: longest time until a connection is open.
    """

    rate_hz = RATE_HZ

    def __init__(self, url: str, voice: str | None, connect_s: float) -> None:
        self._url = url
        self._voice = voice
        self._connect_s = connect_s

    async def open(self) -> None:
        """See `Stage.open`; connections at home are too quick to be kept."""
        await reach(self._url, self._connect_s)

    async def release(self) -> None:
        """Nothing is open."""

    async def speak(self, text: AsyncIterator[str], like: Sample | None = None) -> AsyncGenerator[Sound, None]:
        """See `Speak.speak`; one connection for each sentence."""
        spoken = 0
        async for sentence in text:
            async with aclosing(self._sentence(sentence.strip())) as pieces:
                async for pcm in pieces:
                    yield Sound(pcm)
            spoken += len(sentence)
            yield Sound(b"", spoken)

    async def _sentence(self, sentence: str) -> AsyncGenerator[bytes, None]:
        joiner, resampler = Joiner(), Resampler(RATE_HZ, RATE_HZ)
        voice = {"voice": {"name": self._voice}} if self._voice else {}
        async with connected(self._url, self._connect_s) as server:
            server.send("synthesize", {"text": sentence, **voice})
            while True:
                kind, data, payload = await server.receive()
                if kind == "audio-start":
                    resampler = Resampler(_rate_hz(data), RATE_HZ)
                elif kind == "audio-chunk":
                    yield resampler.process(joiner.feed(payload)).tobytes()
                elif kind == "audio-stop":
                    yield resampler.process(np.zeros(round(resampler.delay_s * RATE_HZ), np.int16)).tobytes()
                    return


def _rate_hz(data: dict[str, object]) -> int:
    try:
        rate_hz, width, channels = whole(data, "rate", 0), whole(data, "width", 2), whole(data, "channels", 1)
    except Malformed:
        rate_hz = width = channels = 0
    if not 8000 <= rate_hz <= 96000 or (width, channels) != (2, 1):
        raise StageError("config", f"sound of {rate_hz} Hz, {8 * width} bits and {channels} channels; Pipit takes 16-bit mono")
    return rate_hz
