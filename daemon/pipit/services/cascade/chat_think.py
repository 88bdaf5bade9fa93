"""Asks any server with OpenAI's chat/completions: OpenAI, OpenRouter, Groq, Mistral, Ollama, llama.cpp, vLLM, LM Studio."""

from __future__ import annotations

import itertools
import json
import secrets
import ssl
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from urllib.parse import urlsplit

from pipit import __version__
from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.fetch import Ahead, FetchError, stream
from pipit.services.cascade import Agent, Call, Item, StageError, Text, Think
from pipit.services.cascade.chat import Answer, body
from pipit.services.cascade.over_http import OverHttp
from pipit.services.cascade.refusals import key_problems, problems, refusal
from pipit.services.cascade.settings import Settings, ThinkSettings

STANDS_IN = "My usual service cannot be reached, so another one answers."

EXPLANATION_BYTES = 65536
"""Longest refusal that is read."""

WHOLE_BYTES = 1 << 20
"""Longest answer that is not streamed, and longest line of one that is: encrypted reasoning comes in one."""


def build(settings: Settings) -> Think:
    """Return the stage.

    Raises:
        ConfigError: the address cannot be used, or a key is missing.
    """
    think = settings.think
    wrong = problems(think.url, "service.think.url", ("https", "http"), insecure=settings.insecure)
    wrong += key_problems(think.api_key, "service.think.api_key")
    if not wrong and think.api_key is None and think.url == ThinkSettings().url:
        wrong.append("service.think.api_key: OpenAI needs a key; for example `api_key: !credential openai`")
    if wrong:
        raise ConfigError(*wrong)
    return ChatThink(think, settings.instructions, settings.connect_s, settings.read_s)


class ChatThink(OverHttp):
    """See `Think`.

    Args:
        think: the stage's settings.
        instructions: what the agent is told about itself.
        connect_s: longest time until a connection is open.
        read_s: longest silence.
        tls: other than the system's certificates.
    """

    stands_in = STANDS_IN

    def __init__(
        self, think: ThinkSettings, instructions: str, connect_s: float, read_s: float, tls: ssl.SSLContext | None = None
    ) -> None:
        self._think = think
        self._instructions = instructions
        self._connect_s = connect_s
        self._read_s = read_s
        self._tls = tls
        self._url = think.url.rstrip("/") + "/chat/completions"
        self._key = think.api_key.reveal() if think.api_key is not None else ""
        self._ahead = Ahead(self._url, tls)
        self._ids = itertools.count(1)
        self._host = urlsplit(self._url).hostname or ""

    async def think(self, items: Sequence[Item], tools: Sequence[Declaration]) -> AsyncGenerator[Text | Call, None]:
        """See `Think.think`."""
        asked = body(self._think.model, self._instructions, items, tools, self._think.extra)
        answer = Answer(self._invent, (call.id for item in items if isinstance(item, Agent) for call in item.calls))
        try:
            async with stream(
                self._url,
                method="POST",
                headers=self._headers(),
                body=json.dumps(asked, ensure_ascii=False).encode(),
                timeout_s=self._read_s,
                tls=self._tls,
                ahead=self._ahead,
            ) as answered:
                if answered.status != 200:
                    explanation = await answered.read(EXPLANATION_BYTES)
                    raise refusal(answered.status, explanation, self._host, (self._key,) if self._key else (), "service.think")
                if "application/json" in answered.headers.get("content-type", ""):
                    for text in answer.whole(await answered.read(WHOLE_BYTES)):
                        yield text
                else:
                    async with aclosing(answered.lines(WHOLE_BYTES)) as lines:
                        async for line in lines:
                            for text in answer.feed(line):
                                yield text
                            if answer.is_done:  # some leave the connection open
                                break
                for part in answer.finish():
                    yield part
        except FetchError as error:
            raise StageError("retryable", str(error)) from error

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream", "User-Agent": f"pipit/{__version__}"}
        return {**headers, "Authorization": f"Bearer {self._key}"} if self._key else headers

    def _invent(self) -> str:
        return f"call_{secrets.token_hex(6)}_{next(self._ids)}"
