"""A conversation with the rehearsal as the daemon holds it: its own codecs in its own session shell.

talk = Talk(server, "assemblyai", tools=(LAMP,))
await talk.hold("set a timer for ten seconds")
assert talk.of(ToolCall)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from pipit.core.options import Secret
from pipit.core.tool import Declaration
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from pipit.services import Event, Opening, Ready, ReplyAudio, ReplyDone, ReplyText, Session, ToolCall
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.openai_presets import PRESETS
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import Deadlines, WebSocketSession
from tests import speech

SAY = "Say: One two three four five."
QUICK = Conduct(think_s=0.0, lead_silence_s=0.0, audio_rate_limit=1e6)
IMPATIENT = Deadlines(connect_s=1.5, read_s=0.7, write_s=2, ping_s=0.3, close_s=0.4)
"""For faults that only a deadline ends; everything else ends by itself long before."""
PATIENT = Deadlines(connect_s=15, read_s=15, write_s=10, close_s=0.4)
GENEROUS_S = 40
ROOM_DBFS = -55
"""Noise around the person, without which speech is no speech to the recogniser."""
KEY = "k-0123456789"

TIMER = Declaration(
    "set_timer", "Sets a timer.", {"type": "object", "properties": {"seconds": {"type": "number"}}, "required": ["seconds"]}
)
MODELS = {"yandex": "gpt://folder/speech-realtime-260528", "localai": "pipeline", "speaches": "model"}
QUERY = {"inworld": "?key=kitchen&protocol=realtime"}


def misbehaving(*, conduct: Conduct = QUICK, **faults: Any) -> Rehearsal:
    """Return a server with faults; it makes replies as fast as it can unless the test is about their pace."""
    return Rehearsal(misbehave=Misbehaviour(**{"flood": True, **faults}), conduct=conduct)


def codec_for(server: Rehearsal, provider: str, opening: Opening, **settings: Any) -> AssemblyAI | OpenAIRealtime:
    """Return a codec that talks to the rehearsal of a service."""
    given: dict[str, Any] = {"api_key": Secret(KEY), **settings}
    url = server.url(provider) + QUERY.get(provider, "")
    if provider == "assemblyai":
        return AssemblyAI(AssemblyAISettings(url=url, **given), opening)
    return OpenAIRealtime(Settings(url=url, **{"model": MODELS.get(provider), **given}), PRESETS[provider], opening)


class Talk:
    """One session, and what came of it.

    Args:
        server: the rehearsal.
        provider: which service.
        deadlines: of the session.
        tools: what the agent may do.
        answer: what a tool answers, and whether that is an error; None: it never does.
        settings: of the section `service`.
    """

    def __init__(
        self,
        server: Rehearsal,
        provider: str,
        deadlines: Deadlines = PATIENT,
        tools: tuple[Declaration, ...] = (),
        answer: tuple[str, bool] | None = ('{"timer": 1}', False),
        **settings: Any,
    ) -> None:
        self.codec = codec_for(server, provider, Opening(tools), **settings)
        self.session: Session = WebSocketSession(self.codec, deadlines)
        self.events: list[Event] = []
        self._answer = answer
        self._sound = b""
        self.voice = "en-gb"
        self.silence_s = 0.01
        """From one piece of silence, 40 ms, to the next: not more patient than the test needs."""

    async def hold(
        self, request: str = "", replies: int = 1, then: Callable[[Event], Awaitable[None]] | None = None
    ) -> list[Event]:
        """Talk until so many replies are done, or the session is over.

        Args:
            request: what the person says; empty: nothing, the agent is asked to say something.
            replies: how many to hear.
            then: what else is done at each event.
        """
        talking: asyncio.Task[None] | None = None
        async with asyncio.timeout(GENEROUS_S):
            async for event in self.session.events():
                self.events.append(event)
                if isinstance(event, Ready):
                    talking = asyncio.create_task(self._speak(request))
                if isinstance(event, ToolCall) and self._answer is not None:
                    await self.session.tool_result(event.call, self._answer[0], is_error=self._answer[1])
                if then is not None:
                    await then(event)
                if len(self.of(ReplyDone)) >= replies:
                    await self.session.close()
        if talking is not None:
            talking.cancel()
        return self.events

    def say(self, request: str) -> None:
        """Have the person say something, now."""
        rate_hz = self.session.input_rate_hz
        clip = speech.say(request, self.voice, rate_hz=rate_hz)
        self._sound += speech.timeline([(0.3, clip)], 0.5 + len(clip) / rate_hz, rate_hz, ROOM_DBFS).tobytes()

    async def _speak(self, request: str) -> None:
        if not request:
            await self.session.generate(SAY)
            return
        self.say(request)
        piece = self.session.input_rate_hz // 25 * 2
        while True:
            sound, self._sound = self._sound[:piece], self._sound[piece:]
            await self.session.audio(sound.ljust(piece, b"\0"))
            await asyncio.sleep(0 if sound else self.silence_s)

    def of(self, *kinds: type[Event]) -> list[Any]:
        """Return the events of some kinds so far."""
        return [event for event in self.events if isinstance(event, kinds)]

    @property
    def last(self) -> Any:
        """How the session ended."""
        return self.events[-1]

    @property
    def words(self) -> str:
        """What the agent said, all replies together."""
        return " ".join("".join(event.text + " " for event in self.of(ReplyText)).split())

    @property
    def sound(self) -> bytes:
        """The sound of all replies."""
        return b"".join(event.pcm for event in self.of(ReplyAudio))
