"""The agent behind both protocols: it hears with the recogniser, answers with the skills and speaks with espeak-ng."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipit.offline import espeak
from pipit.offline.ear import Utterance
from pipit.offline.recogniser import Recogniser
from pipit.rehearsal import skills, tools, voice

Say = Callable[[str], None]


class Left(Exception):
    """The client has gone: raised in a session's task group to end what is still running for it."""


@dataclass(frozen=True)
class Chat:
    """How the language model's server writes its answers; servers differ in this. The defaults are OpenAI's ways."""

    calls: Literal["pieces", "whole", "object", "unindexed", "unnamed", "repeated", "stopped"] = "pieces"
    """How a tool call comes: in pieces; whole, in one chunk; with its arguments as an object instead of text; in pieces without an
    index; whole, without an id; in pieces that repeat the name; in pieces, and the end says "stop"."""
    reasoning: Literal["", "reasoning_content", "reasoning", "tags"] = ""
    """What the model thinks before it answers: nothing; in a field of this name; as <think>…</think> in the text."""
    stream_options: bool = True
    """The server knows the parameter `stream_options`."""
    comments: bool = False
    """The stream begins with comments, which keep the connection alive."""
    done: bool = True
    """The stream ends with [DONE]."""


@dataclass(frozen=True)
class Conduct:
    """How the service behaves when it behaves."""

    api_key: str | None = None
    """The only key that is let in; None lets everybody in."""
    think_s: float = 0.3
    """Time from the end of a turn to the reply's first sound, at least; so that thinking can be seen. Chat: to the first word."""
    hear_s: float = 0.0
    """Speech to text: time from a request to its answer, at least."""
    speak_s: float = 0.0
    """Text to speech: time from the text to its first sound, at least."""
    word_s: float = 0.0
    """Chat: time from one word to the next."""
    chat: Chat = Chat()
    rates_hz: tuple[int, ...] = (24000,)
    """Sample rates that a client may choose, the first by default. The real OpenAI takes 24000 only; others take more."""
    session_limit_s: float = 3600.0
    """OpenAI, AssemblyAI: a session is ended after this time."""
    filler: str = "One moment."
    """OpenAI, AssemblyAI: what the agent says before it calls a tool; empty: nothing."""
    burst: float = 4.0
    """OpenAI: how much faster than real time a reply is sent."""
    lead_silence_s: float = 0.3
    """AssemblyAI: silence at the start of each reply's sound."""
    resume_s: float = 0.0
    """AssemblyAI: a session whose connection was lost can be resumed for so long. The documentation says 30 s; the service has been
    seen to refuse always."""
    concurrency: int = 5
    """Fish Audio: requests and live connections at a time."""
    audio_rate_limit: float = 4.0
    """AssemblyAI: how much faster than real time sound may arrive in the long run; what exceeds it is discarded."""


class Agent:
    """Hears, answers and speaks; one serves all sessions.

    Args:
        recogniser: what it hears with.
        worker: one thread, in which the recogniser runs.
        now: the local time.
    """

    def __init__(self, recogniser: Recogniser, worker: Executor, now: Callable[[], datetime]) -> None:
        self._recogniser = recogniser
        self._worker = worker
        self._now = now

    async def understand(self, utterance: Utterance) -> str:
        """Return what was said; empty if nothing was intelligible."""
        return "" if utterance.blip else await self.transcribe(utterance.samples)

    async def transcribe(self, samples: NDArray[np.int16]) -> str:
        """Return what is said in a recording, shape (n,) at 16 kHz; empty if nothing was intelligible."""
        heard = await asyncio.get_running_loop().run_in_executor(self._worker, self._recogniser.hear, samples)
        return heard.text

    def decide(self, request: str, turn: int, declared: Sequence[Mapping[str, Any]], filler: str) -> skills.Reply:
        """Answer a request, or call one of the tools that were declared: where the agent itself has no skill for it."""
        call = None if skills.knows(request) else tools.wanted(request, declared)
        if call is None:
            return self.answer(request, turn)
        return skills.Reply("tool", (filler,) if filler else (), call)

    def answer(self, request: str, turn: int) -> skills.Reply:
        """Answer a request; `turn` chooses among the wordings."""
        return skills.answer(request, self._now(), turn)


def chunk_bytes(seconds: float, rate_hz: int, *, odd: bool = False) -> tuple[int, ...]:
    """Return how many bytes of PCM16 the pieces of a reply hold; with `odd` each cuts a sample in two, and the next mends it."""
    size = 2 * round(seconds * rate_hz)
    return (size + 1, size - 1) if odd else (size,)


async def sound(
    sentence: str, sizes: Sequence[int], rate_hz: int, voice_name: str, speed: float = 1.0, volume: float = 100.0
) -> AsyncGenerator[bytes, None]:
    """Yield a sentence as PCM16 in pieces of the given sizes in bytes, which repeat; the last is shorter. To be closed.

    Args:
        sentence: what is said.
        sizes: see `chunk_bytes`.
        rate_hz: sample rate.
        voice_name: the service's name of the voice.
        speed: 1 is 165 words a minute.
        volume: 0 to 100 percent.
    """
    words_per_minute = round(espeak.WORDS_PER_MINUTE * speed)
    waiting = bytearray()
    turn = 0
    async with aclosing(espeak.speak(sentence, rate_hz, voice.variant(voice_name), words_per_minute)) as spoken:
        async for pcm in spoken:
            waiting += (np.frombuffer(pcm, "<i2") * (volume / 100)).astype("<i2").tobytes()
            while len(waiting) >= (size := sizes[turn % len(sizes)]):
                yield bytes(waiting[:size])
                del waiting[:size]
                turn += 1
    if waiting:
        yield bytes(waiting)
