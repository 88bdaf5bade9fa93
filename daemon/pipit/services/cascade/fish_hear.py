"""Hears with Fish Audio: a whole utterance in one HTTP request."""

from __future__ import annotations

import json
import ssl

import numpy as np
from numpy.typing import NDArray

from pipit.services.cascade import Hear, StageError, fish
from pipit.services.cascade.over_http import Upload
from pipit.services.cascade.settings import HearSettings, Settings
from pipit.services.cascade.upload import multipart, wav

SHORTEST_S = 1.05
"""The service refuses less than a second; a shorter utterance is padded with silence."""


def build(settings: Settings) -> Hear:
    """Return the stage.

    Raises:
        ConfigError: msgpack is not installed, the address cannot be used, or the key is missing.
    """
    hear = settings.hear
    api_key = hear.api_key or settings.api_key
    fish.check(hear.url or fish.URL, api_key, "service.hear", insecure=settings.insecure)
    return FishHear(hear, api_key.reveal() if api_key else "", settings.connect_s, settings.read_s)


class FishHear(Upload):
    """See `Hear`.

    Args:
        hear: the stage's settings.
        key: of the account; empty for a server at home.
        connect_s: longest time until a connection is open.
        read_s: longest time until the answer is there.
        tls: other than the system's certificates.
    """

    def __init__(self, hear: HearSettings, key: str, connect_s: float, read_s: float, tls: ssl.SSLContext | None = None) -> None:
        super().__init__((hear.url or fish.URL).rstrip("/") + "/v1/asr", key, connect_s, read_s, tls)
        self._hear = hear
        self._msgpack = fish.packer() if hear.encoding == "msgpack" else None

    async def hear(self, samples: NDArray[np.int16]) -> str | None:
        """See `Hear.hear`."""
        kind, body = self._body(wav(samples, SHORTEST_S))
        answer = await self._post(kind, body, fish.headers(self._key, model=self._hear.model))
        text = _text(answer)
        if text is None:
            raise StageError("retryable", f"{self._host} answered something that is no transcript")
        return text

    def _body(self, sound: bytes) -> tuple[str, bytes]:
        """Return the request and what it is written in."""
        asked: dict[str, str | bool] = {"ignore_timestamps": True}  # the answer comes sooner without
        if self._hear.language is not None:
            asked["language"] = self._hear.language
        if self._msgpack is not None:
            return "application/msgpack", self._msgpack.packb({"audio": sound, **asked})
        return multipart({name: str(value).lower() for name, value in asked.items()}, "audio", sound)


def _text(body: bytes) -> str | None:
    """Return the transcript in an answer, if it is one."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    text = data.get("text") if isinstance(data, dict) else None
    return text.encode("utf-8", "replace").decode().strip() if isinstance(text, str) else None
