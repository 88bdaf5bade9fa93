"""Hears with any server that has OpenAI's audio/transcriptions: OpenAI, Groq, speaches, LocalAI, whisper.cpp."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipit import __version__
from pipit.errors import ConfigError
from pipit.services.cascade import Hear, StageError
from pipit.services.cascade.over_http import Upload
from pipit.services.cascade.refusals import key_problems, problems
from pipit.services.cascade.settings import HearSettings, Settings
from pipit.services.cascade.upload import multipart, wav

URL = "https://api.openai.com/v1"
MODEL = "gpt-4o-mini-transcribe"

SHORTEST_S = 0.5
"""Whisper makes words up for shorter sound, and OpenAI refuses less than 0.1 s."""


def build(settings: Settings) -> Hear:
    """Return the stage.

    Raises:
        ConfigError: the address cannot be used, or a key is missing.
    """
    hear, url = settings.hear, settings.hear.url or URL
    wrong = problems(url, "service.hear.url", ("https", "http"), insecure=settings.insecure)
    wrong += key_problems(hear.api_key, "service.hear.api_key")
    if url == URL and hear.api_key is None:
        wrong.append("service.hear.api_key: OpenAI needs a key; for example `api_key: !credential openai`")
    if wrong:
        raise ConfigError(*wrong)
    return OpenAIHear(hear, settings.keyterms, settings.connect_s, settings.read_s)


class OpenAIHear(Upload):
    """See `Hear`.

    Args:
        hear: the stage's settings.
        keyterms: names and words that may come.
        connect_s: longest time until a connection is open.
        read_s: longest time for an answer.
        tls: other than the system's certificates.
    """

    def __init__(
        self, hear: HearSettings, keyterms: tuple[str, ...], connect_s: float, read_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        key = hear.api_key.reveal() if hear.api_key is not None else ""
        super().__init__((hear.url or URL).rstrip("/") + "/audio/transcriptions", key, connect_s, read_s, tls)
        self._fields = _fields(hear, keyterms)

    async def hear(self, samples: NDArray[np.int16]) -> str | None:
        """See `Hear.hear`."""
        kind, body = multipart(self._fields, "file", wav(samples, SHORTEST_S))
        headers = {"User-Agent": f"pipit/{__version__}"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        return _words(await self._post(kind, body, headers), self._host)


def _fields(hear: HearSettings, keyterms: tuple[str, ...]) -> Mapping[str, str]:
    wanted = {"model": hear.model or MODEL, "response_format": "json", "language": hear.language, "prompt": ", ".join(keyterms)}
    return {name: value for name, value in wanted.items() if value}


def _words(body: bytes, host: str) -> str:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    words = data.get("text") if isinstance(data, dict) else None
    if not isinstance(words, str):
        raise StageError("retryable", f"{host} answered something that is no transcription")
    return words.strip()
