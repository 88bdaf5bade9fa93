"""Voice services: the contracts of a codec (pure) and of a session (async), and the events that both speak in.

A codec turns intentions into messages and messages into events; it never waits, never reads a clock and never touches a socket.
`services.websocket` wraps one into a session. A session that is no WebSocket at all (a cascade) implements `Session` directly.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from pipit.core.tool import Declaration

Message = str | bytes
"""One WebSocket frame: text or binary."""

NAMES: Mapping[str, str] = {
    "openai": "openai_realtime",
    "azure": "openai_realtime",
    "yandex": "openai_realtime",
    "xai": "openai_realtime",
    "inworld": "openai_realtime",
    "qwen": "openai_realtime",
    "localai": "openai_realtime",
    "speaches": "openai_realtime",
    "realtime": "openai_realtime",
    "realtime-beta": "openai_realtime",
    "assemblyai": "assemblyai",
    "fish": "cascade.provider",
    "local": "cascade.provider",
    "cascade": "cascade.provider",
}
"""`service.provider` -> module. The folder's other modules are what the codecs share."""


@dataclass(frozen=True)
class Request:
    """How to open the socket. Any field may hold the key, so none is printed."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: Request | None = field(default=None, repr=False)
    """Where to fetch a token with HTTP GET first; `{token}` in `url` becomes the `token` of its JSON answer."""


@dataclass(frozen=True)
class Capabilities:
    """What a service can do; the conversation asks this instead of the service's name."""

    server_turns: bool = True
    """The service itself decides when the person has finished; otherwise Pipit does, and sends `end_turn`."""
    interrupt: bool = True
    """A running reply can be cancelled from here; otherwise it is only silenced locally."""
    truncate: bool = False
    """The service wants to know how much of a cancelled reply was heard."""
    speech_interrupts: bool = False
    """`UserStarted` means that the service takes a reply for interrupted as soon as it hears speech, even a reply that it has sent
    to the end (`ReplyDone`) and that is still being played here."""
    resume_s: float = 0.0
    """For so long a session that was dropped can be taken up again, with `Opening.resume`; 0 means never."""
    ping: bool = True
    """The service answers WebSocket pings."""
    pace: float = 0.0
    """How fast stored sound may be sent, as a multiple of real time; 0 means as fast as the socket takes it."""
    max_session_s: float | None = None
    """The service ends a session after this time."""


# -- what a session begins with ----------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """Something that was said before the session began, by the person or by the agent."""

    by_agent: bool
    text: str


@dataclass(frozen=True, slots=True)
class Opening:
    """What a session begins with, besides the settings."""

    tools: tuple[Declaration, ...] = ()
    """What the agent may do on this device."""
    history: tuple[Line, ...] = ()
    """What was said so far, of a conversation that goes on in a new session."""
    greet: bool = True
    """Whether the agent says the greeting of the settings; not where a conversation goes on."""
    resume: str = ""
    """`Ready.resume` of the session that is to be taken up again."""
    without: frozenset[str] = frozenset()
    """Settings that the service refused (`Failed.without`) and that are left out."""
    instead_of: str = ""
    """The provider that should answer and cannot be reached, where the person has not been told yet."""


NEW = Opening()
"""A conversation that begins."""


class Opener(Protocol):
    """A factory of sessions."""

    def __call__(self, opening: Opening = NEW, /) -> Session:
        """Return a session that has not been opened yet."""

    def prepare(self) -> None:
        """Load what the first session would otherwise wait for. Called once Pipit listens, not by the event loop's thread."""


# -- events: what a service tells us ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the service said."""


@dataclass(frozen=True, slots=True)
class Ready(Event):
    """Sound may be sent now."""

    session: str = ""
    """The service's name for this session, for the journal."""
    resume: str = ""
    """What takes the session up again after a drop, where the service can."""


class UserStarted(Event):
    """The service heard the person begin to talk."""


class UserStopped(Event):
    """The service decided that the person's turn is over (or paused: `UserStarted` may follow)."""


@dataclass(frozen=True, slots=True)
class UserText(Event):
    """What the person said, as the service understood it: the whole text so far of this item."""

    text: str
    final: bool
    item: str = ""


@dataclass(frozen=True, slots=True)
class ReplyStarted(Event):
    """A reply is being made."""

    reply: str


@dataclass(frozen=True, slots=True)
class ReplyAudio(Event):
    """The next sound of a reply: 16-bit little-endian mono PCM at the codec's `output_rate_hz`. May hold an odd byte."""

    reply: str
    pcm: bytes


@dataclass(frozen=True, slots=True)
class ReplyText(Event):
    """The next words of a reply (not the whole text so far)."""

    reply: str
    text: str


@dataclass(frozen=True, slots=True)
class ReplyDone(Event):
    """The service will send no more of this reply. Says nothing of what has been played."""

    reply: str
    status: str = "completed"
    """"completed", "interrupted" (the person talked over it), "cancelled" (we asked for it) or "failed"."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall(Event):
    """The agent wants a tool to be run."""

    call: str
    name: str
    arguments: Mapping[str, Any]
    reply: str = ""


@dataclass(frozen=True, slots=True)
class ToolCancelled(Event):
    """The agent no longer wants the result."""

    call: str


@dataclass(frozen=True, slots=True)
class Expiring(Event):
    """The service will end the session in so many seconds."""

    in_s: float


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something for the journal that needs no action."""

    topic: str
    """What it is about: "reconnect", "renewal", "failover", "budget", "setting"."""
    text: str
    warning: bool = True


@dataclass(frozen=True, slots=True)
class Ended(Event):
    """The session is over, in good order. Nothing follows."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """Something went wrong.

    `kind`: "benign" (recorded, the session goes on), "retryable" (the session is over, another may work), "config" (the session is
    over; the owner must change something), "fatal" (the session is over; trying again is pointless).
    """

    kind: str
    reason: str
    without: str = ""
    """The setting that the service refuses, where a session without it is better than none."""


# -- contracts ---------------------------------------------------------------------------------------------------------------------


class Codec(Protocol):
    """One protocol, pure. A codec instance serves one session; the messages it returns are sent in order."""

    input_rate_hz: int
    """Rate of the PCM16 mono that `audio` takes."""
    output_rate_hz: int
    """Rate of the PCM16 mono that `ReplyAudio` carries."""
    capabilities: Capabilities

    def request(self) -> Request:
        """Say where to connect."""

    def hello(self) -> Sequence[Message]:
        """Return what is sent once the socket is open."""

    def audio(self, pcm: bytes) -> Sequence[Message]:
        """Send sound, a whole number of samples."""

    def end_turn(self) -> Sequence[Message]:
        """The person has finished: ask for the reply. With server turns this ends the turn early (push to talk)."""

    def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> Sequence[Message]:
        """Stop `reply` (None: whichever is being made), of which `heard_ms` were heard.

        `by_service`: the service has stopped it by itself already and only needs to know how much was heard.
        """

    def tool_result(self, call: str, result: str, *, is_error: bool) -> Sequence[Message]:
        """Answer a `ToolCall`. The codec holds it back where the protocol wants it later."""

    def generate(self, instructions: str) -> Sequence[Message]:
        """Ask for a reply now, without the person having spoken."""

    def goodbye(self) -> Sequence[Message]:
        """Return what is sent before the socket is closed."""

    def receive(self, message: Message) -> Sequence[Event]:
        """Understand one message. Never raises: unknown messages are counted in `unknown`, malformed ones in `malformed`."""

    def to_send(self) -> Sequence[Message]:
        """Return, once, what is to be sent because of what was received: a greeting, results of tools. Follows each `receive`."""

    def closed(self, code: int, reason: str) -> Event:
        """Say what it means that the service closed the socket with this code: `Ended` or `Failed`."""

    unknown: int
    malformed: int


class Session(Protocol):
    """What the conversation talks to. Lives on the event loop."""

    input_rate_hz: int
    output_rate_hz: int
    capabilities: Capabilities

    def events(self) -> AsyncIterator[Event]:
        """Connect and yield what the service says.

        The last event is `Ended` or a `Failed` that is not benign; network trouble is never raised. The iterator owns the socket:
        closing it closes the socket.
        """

    async def audio(self, pcm: bytes) -> None:
        """Send sound.

        Like all sending methods it waits at most for the write deadline and does nothing once the session is over.
        """

    async def end_turn(self) -> None:
        """See `Codec.end_turn`."""

    async def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> None:
        """See `Codec.interrupt`."""

    async def tool_result(self, call: str, result: str, *, is_error: bool) -> None:
        """See `Codec.tool_result`."""

    async def generate(self, instructions: str) -> None:
        """See `Codec.generate`."""

    async def close(self) -> None:
        """Say goodbye, close, and be done within a second whatever the network does."""
