"""One provider's session as a part of a conversation that outlives it, whose ids and rates it is given."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field

import numpy as np

from pipit.core.pcm import Joiner, Resampler
from pipit.services import (
    Event,
    Opener,
    Opening,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    Session,
    ToolCall,
    ToolCancelled,
    UserText,
)


@dataclass(frozen=True)
class Provider:
    """One entry of the list `service`."""

    name: str
    open: Opener


@dataclass(eq=False)
class Link:
    """A session, and how it is joined to the conversation.

    Providers count replies and calls from one in each session, so ids get the link's number in front, from the second link on.
    """

    session: Session
    provider: Provider
    opening: Opening
    number: int = 0
    task: asyncio.Task[None] | None = None
    catching_up: asyncio.Task[None] | None = None
    ready: bool = False
    attached: bool = False
    """It has heard all sound so far, and hears what comes next at once."""
    ready_at: float = 0.0
    resume: str = ""
    expires_at: float | None = None
    _up: Resampler | None = None
    _down: Resampler | None = None
    _joiner: Joiner = field(default_factory=Joiner)
    _reply: str = ""
    """Whose sound came last."""

    @property
    def _prefix(self) -> str:
        return f"{self.number}:" if self.number else ""

    def convert(self, input_rate_hz: int, output_rate_hz: int) -> None:
        """Have the session's sound, both ways, at the conversation's rates."""
        session = self.session
        self._up = Resampler(input_rate_hz, session.input_rate_hz) if session.input_rate_hz != input_rate_hz else None
        self._down = Resampler(session.output_rate_hz, output_rate_hz) if session.output_rate_hz != output_rate_hz else None

    async def audio(self, pcm: bytes) -> None:
        """See `Session.audio`."""
        if self._up is not None:
            pcm = self._up.process(np.frombuffer(pcm, "<i2")).tobytes()
        await self.session.audio(pcm)

    def own(self, name: str) -> str | None:
        """Return an id as the provider knows it; None where it is of another session."""
        if self._prefix:
            return name.removeprefix(self._prefix) if name.startswith(self._prefix) else None
        return None if name.partition(":")[0].isdigit() and ":" in name else name

    def renamed(self, event: Event) -> Event:
        """Return an event with the conversation's ids."""
        prefix = self._prefix
        if not prefix:
            return event
        match event:
            case ReplyStarted() | ReplyAudio() | ReplyText() | ReplyDone():
                return dataclasses.replace(event, reply=prefix + event.reply)
            case ToolCall():
                return dataclasses.replace(event, call=prefix + event.call, reply=prefix + event.reply if event.reply else "")
            case ToolCancelled():
                return ToolCancelled(prefix + event.call)
            case UserText():
                return dataclasses.replace(event, item=prefix + event.item)
        return event

    def converted(self, event: Event) -> Event:
        """Return an event with sound of the conversation's rate."""
        if self._down is None or not isinstance(event, ReplyAudio):
            return event
        if event.reply != self._reply:
            self._reply = event.reply
            self._joiner.reset()  # half a sample at the end of one reply is not the beginning of the next
        return ReplyAudio(event.reply, self._down.process(self._joiner.feed(event.pcm)).tobytes())
