"""Hears with a server at home that speaks the Wyoming protocol: whisper, Vosk, sherpa-onnx."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import HEARING_RATE_HZ
from pipit.errors import ConfigError
from pipit.services.cascade import Hear, StageError
from pipit.services.cascade.settings import Settings
from pipit.services.cascade.wyoming import connected, problems, reach
from pipit.services.wire import Malformed, text

CHUNK_BYTES = 16384
"""Half a second in each event."""

_FORMAT = {"rate": HEARING_RATE_HZ, "width": 2, "channels": 1}


def build(settings: Settings) -> Hear:
    """Return the stage.

    Raises:
        ConfigError: the address is missing or cannot be used.
    """
    url = settings.hear.url
    wrong = problems(url, "service.hear.url", "tcp://127.0.0.1:10300", insecure=settings.insecure)
    if wrong or url is None:
        raise ConfigError(*wrong)
    return WyomingHear(url, settings.hear.model, settings.hear.language, settings.connect_s)


class WyomingHear:
    """See `Hear`.

    Args:
        url: tcp://HOST:PORT.
        model: None: the server's default.
        language: None: the server finds out.
        connect_s: longest time until a connection is open.
    """

    def __init__(self, url: str, model: str | None, language: str | None, connect_s: float) -> None:
        self._url = url
        self._wanted = {name: value for name, value in (("name", model), ("language", language)) if value}
        self._connect_s = connect_s

    async def open(self) -> None:
        """See `Stage.open`; connections at home are too quick to be kept."""
        await reach(self._url, self._connect_s)

    async def release(self) -> None:
        """Nothing is open."""

    async def hear(self, samples: NDArray[np.int16]) -> str | None:
        """See `Hear.hear`."""
        pcm = samples.astype("<i2").tobytes()
        async with connected(self._url, self._connect_s) as server:
            server.send("transcribe", self._wanted)
            server.send("audio-start", _FORMAT)
            for start in range(0, len(pcm), CHUNK_BYTES):
                server.send("audio-chunk", _FORMAT, pcm[start : start + CHUNK_BYTES])
                await server.drain()
            server.send("audio-stop")
            while True:
                kind, data, _ = await server.receive()
                if kind == "transcript":
                    try:
                        return text(data, "text", "").strip()
                    except Malformed:
                        raise StageError("retryable", "the transcript holds no text") from None
