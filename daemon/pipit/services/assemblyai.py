"""AssemblyAI's Voice Agent protocol: JSON text over WebSocket, sound as base64, 24 kHz both ways.

Differences from OpenAI's protocol that shape this codec: nothing may be sent before `session.ready`; sound may hardly run ahead of
real time; unknown fields are refused, so only documented ones are sent; the service alone decides about the end of a turn and
about interruptions; results of tools are held until the reply is done and dropped when it was interrupted.

Reference: AssemblyAI's Voice Agent API documentation, September 2026. Where it and published recordings differ, both are accepted.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pipit.core import g711
from pipit.core.options import option
from pipit.core.pronunciation import hint
from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.services import (
    NEW,
    Capabilities,
    Ended,
    Event,
    Expiring,
    Failed,
    Message,
    Opener,
    Opening,
    Ready,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    Request,
    ToolCall,
    ToolCancelled,
    UserStarted,
    UserStopped,
    UserText,
    closing,
)
from pipit.services.sessions import Sessions
from pipit.services.settings import ServiceSettings, check, is_loopback
from pipit.services.wire import (
    Malformed,
    arguments,
    dumps,
    encode,
    mapping,
    merge,
    objects,
    parse,
    sentence,
    sound,
    text,
)

URL = "wss://agents.assemblyai.com/v1/ws"
RATE_HZ = 24000
KEYTERMS = 100
"""Most key terms that the service takes."""

LIFE_S = 3600.0
"""How long a session is taken to last where it does not say so itself. Those that did said an hour."""

RESUME_S = 30.0
"""For so long the service keeps a session whose socket was lost (its documentation)."""

HISTORY = "The connection broke and this is the same conversation. What was said before:"

HUSH_S = 4.0
"""Longest silence sent in place of the microphone to end a turn. The service ends one after at most 3 s (`max_silence`)."""

REMEMBERED = 32
"""Replies and calls of tools that are kept."""

FORGOTTEN = 1000
"""Older replies of which it is known that they are over."""


@dataclass(frozen=True)
class Settings(ServiceSettings):
    """The section `service` for AssemblyAI."""

    reply_cancel: bool = option(
        False,
        "Try to cancel replies at the service. Its public documentation has no such message; if it is refused Pipit stops trying.",
    )
    encoding: str = option(
        "audio/pcm",
        "How sound travels, both ways: 24 kHz PCM, or as mu-law (pcmu) or A-law (pcma) in telephone quality, a sixth of the bytes.",
        choices=("audio/pcm", "audio/pcmu", "audio/pcma"),
    )
    tool_results: str = option(
        "after_reply",
        "When results of tools are sent: after the reply that asked for them, as documented, or at once, which is about a second "
        "faster and was taken in a recording.",
        choices=("after_reply", "at_once"),
    )
    token_url: str | None = option(
        None,
        "Address that hands out temporary tokens, so that sessions are opened with these instead of the key: AssemblyAI's own, or "
        "a server of yours that keeps the key. `api_key`, if there is one, is sent to it as a bearer token.",
        example="https://agents.assemblyai.com/v1/token?expires_in_seconds=60",
    )


def build(settings: Settings, name: str = "assemblyai") -> Opener:
    """Return a factory of sessions.

    Args:
        settings: the section `service`.
        name: as in the configuration, for messages.

    Raises:
        ConfigError: the key is missing, or something is set that this service does not have.
    """
    problems = []
    if settings.model is not None:
        problems.append(f"service.model: {name} chooses the model itself; leave it null")
    if settings.turn_detection.get("type") == "none":
        problems.append(f"service.turn_detection.type: {name} always finds the end of a turn itself; none is not possible")
    if len(settings.keyterms) > KEYTERMS:
        problems.append(f"service.keyterms: {len(settings.keyterms)} of them, {name} takes at most {KEYTERMS}")
    problems += _token_problems(settings)
    if "agent_id" in settings.extra:
        problems += _stored_problems(settings)
    if problems:
        raise ConfigError(*problems)
    check(settings, "AssemblyAI", name, key_needed=settings.token_url is None)
    return Sessions(lambda opening: AssemblyAI(settings, opening), settings)


STORED = ("encoding", "greeting", "instructions", "keyterms", "pronunciation", "turn_detection", "voice")
"""What a stored agent brings with it."""


def _stored_problems(settings: Settings) -> list[str]:
    """Return what stands beside the name of a stored agent: the service takes nothing else, so it would be without effect."""
    usual = Settings()
    chosen = [f"service.{name}" for name in STORED if getattr(settings, name) != getattr(usual, name)]
    chosen += [f"service.extra.{name}" for name in settings.extra if name != "agent_id"]
    return [f"{name}: a stored agent (service.extra.agent_id) has its own; leave this out" for name in chosen]


def _token_problems(settings: Settings) -> list[str]:
    url = settings.token_url
    if url is None:
        return []
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        return ["service.token_url: this is no address; it must look like https://HOST/PATH"]
    if parts.scheme == "http" and not (settings.insecure or is_loopback(url)):
        return [f"service.token_url: http:// sends key and token unencrypted to {parts.hostname}; use https://"]
    return []


OPTIONAL = ("tools", "voice", "keyterms", "turn_detection")
"""Settings without which a session is better than none, as they are called in `Opening.without` and in what the service refuses."""


def session_object(settings: Settings, opening: Opening = NEW) -> dict[str, Any]:
    """Return the session object of `session.update`. What is not set is left out: null and empty values are refused.

    A stored agent (`extra: {agent_id: ...}`) brings everything with it; the service takes no other field beside its name. So it has
    no tools of this device, and a new session in the middle of a conversation knows nothing of what was said.
    """
    if "agent_id" in settings.extra:
        return {"agent_id": settings.extra["agent_id"]}
    settings = _reduced(settings, opening.without)
    rate_hz = RATE_HZ if settings.encoding == "audio/pcm" else g711.RATE_HZ
    sound_format = {"encoding": settings.encoding, "sample_rate": rate_hz}
    hears: dict[str, Any] = {"format": sound_format}
    if settings.keyterms:
        hears["keyterms"] = list(settings.keyterms)
    if settings.turn_detection:
        hears["turn_detection"] = dict(settings.turn_detection)
    speaks: dict[str, Any] = {"format": sound_format}
    if settings.voice is not None:
        speaks["voice"] = settings.voice
    session: dict[str, Any] = {"system_prompt": _prompt(settings, opening), "input": hears, "output": speaks}
    if settings.greeting and opening.greet:
        session["greeting"] = settings.greeting
    session = merge(session, settings.extra)
    if opening.tools and "tools" not in opening.without:
        session["tools"] = [_tool(tool) for tool in opening.tools] + list(settings.extra.get("tools") or ())
    return session


def _reduced(settings: Settings, without: frozenset[str]) -> Settings:
    """Take out what the service has refused."""
    empty: dict[str, Any] = {"voice": None, "keyterms": (), "turn_detection": {}}
    return dataclasses.replace(settings, **{name: value for name, value in empty.items() if name in without})


def _prompt(settings: Settings, opening: Opening) -> str:
    # There is no message that puts words into the conversation: those of `conversation.message` did not reach the model in tests.
    told = [settings.instructions]
    if settings.pronunciation:
        told.append(hint(settings.pronunciation))
    if opening.history:
        lines = [f"{'You' if line.by_agent else 'User'}: {line.text}" for line in opening.history]
        told += ["", HISTORY, *lines]
    return "\n".join(told)


def _tool(tool: Declaration) -> dict[str, Any]:
    return {"type": "function", "name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


UNUSED = frozenset({"session.updated"})
"""Known messages that say nothing new. They are not counted as unknown."""

ERROR_KINDS: Mapping[str, str] = {
    "unauthorized": "config",
    "forbidden": "config",
    "agent_id_not_first": "config",
    "agent_not_found": "config",
    "agent_init_failed": "config",
    "invalid_config": "config",
    "invalid_webhook": "config",
    "at_capacity": "retryable",
    "concurrency_exceeded": "retryable",
    "server_error": "retryable",
    "internal_error": "retryable",
    "agent_timeout": "retryable",
    "session_not_found": "retryable",
    "session_forbidden": "retryable",
    "session_expired": "retryable",
}
"""Error codes, in lower case, that end a session at any time. Any other ends it only before it is ready, and then as "config"."""

NO_RESUME = ("session_not_found", "session_forbidden", "session_expired")
"""What `session.resume` is refused with."""

REFUSALS = ("invalid_format", "invalid_value")
"""What an unknown message or field is answered with."""


@dataclass
class _Reply:
    id: str
    running: bool = True
    unwanted: bool = False
    """Silenced here: whatever else comes of it is dropped."""
    reported: bool = False
    """`ReplyDone` was given."""
    said: str = ""
    calls: set[str] = field(default_factory=set)
    """Tools that are being run for it."""


def _expiry(data: Mapping[str, Any]) -> list[Event]:
    """Return when the session ends, where the service says so: two of its own times are compared, and no clock is needed."""
    now, end = data.get("timestamp"), data.get("expires_at")
    if not isinstance(now, (int, float)) or not isinstance(end, (int, float)) or not 0 < end - now < 7 * 24 * 3600:
        return []
    return [Expiring(round(end - now, 1))]


class AssemblyAI:
    """The codec. See `pipit.services.Codec`.

    Args:
        settings: the section `service`.
        opening: what the session begins with.
    """

    def __init__(self, settings: Settings, opening: Opening = NEW) -> None:
        self.unknown = 0
        self.malformed = 0
        self._opening = opening
        self._law = settings.encoding.removeprefix("audio/")
        self.input_rate_hz = self.output_rate_hz = RATE_HZ if self._law == "pcm" else g711.RATE_HZ
        # 1.5: sound sent "much faster" than real time is discarded (documentation; three times as fast was taken in a recording)
        self.capabilities = Capabilities(interrupt=settings.reply_cancel, pace=1.5, resume_s=RESUME_S, max_session_s=LIFE_S)
        self._settings = settings
        self._key = settings.api_key.reveal() if settings.api_key else ""
        self._ready = False
        self._outbox: list[Message] = []
        self._replies: dict[str, _Reply] = {}
        self._forgotten: deque[int] = deque(maxlen=FORGOTTEN)
        """Hashes of the names of older replies."""
        self._results: list[tuple[str, Message]] = []
        """Answers of tools that wait for the end of a reply, each with the reply (or "") that asked for it."""
        self._called: deque[str] = deque(maxlen=REMEMBERED)
        """Calls that were handed on: one that comes twice is run once."""
        self._free_calls: set[str] = set()
        """Tools that are being run outside of any reply."""
        self._remote_tools: set[str] = set()
        """Tools that the service runs itself; it only tells us."""
        self._cancels = settings.reply_cancel
        self._cancelling = False
        """A `reply.cancel` was sent, and not answered yet."""
        self._hush = 0
        """Bytes of sound that will be replaced by silence."""
        self._talking = False
        """The person talks."""
        self._cut_off = False
        """The person has silenced the agent while a tool ran, and not spoken since: what it says about the result is not wanted."""

    # -- sending ------------------------------------------------------------------------------------------------------------------

    def request(self) -> Request:
        """See `Codec.request`."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        url = self._settings.url or URL
        if self._settings.token_url is None:
            return Request(url, headers)
        url += ("&" if urlsplit(url).query else "?") + "token={token}"
        return Request(url, token=Request(self._settings.token_url, headers))

    def hello(self) -> Sequence[Message]:
        """See `Codec.hello`."""
        if self._opening.resume:
            return [dumps({"type": "session.resume", "session_id": self._opening.resume})]
        return [dumps({"type": "session.update", "session": session_object(self._settings, self._opening)})]

    def audio(self, pcm: bytes) -> Sequence[Message]:
        """See `Codec.audio`. After `end_turn` silence is sent instead, until the service has noticed."""
        if not pcm:
            return ()
        if self._hush > 0:
            self._hush -= len(pcm)
            pcm = bytes(len(pcm))
        if self._law != "pcm":
            pcm = g711.encode(pcm, self._law)
        return [f'{{"type":"input.audio","audio":"{encode(pcm)}"}}']

    def end_turn(self) -> Sequence[Message]:
        """See `Codec.end_turn`. There is no message for it: the next sound is sent as silence, which ends the turn."""
        self._hush = int(HUSH_S * self.input_rate_hz * 2)
        return ()

    def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> Sequence[Message]:
        """See `Codec.interrupt`. The service cannot be told how much was heard."""
        self._hush = 0
        target = self._running() if reply is None else self._replies.get(reply)
        if target is None:
            return ()
        target.unwanted = True
        if not by_service and not self._talking:
            self._cut_off = bool(target.calls or self._free_calls or self._results)
        if by_service or not self._cancels or not target.running:
            return ()
        self._cancelling = True
        return [dumps({"type": "reply.cancel", "reply_id": target.id})]

    def tool_result(self, call: str, result: str, *, is_error: bool) -> Sequence[Message]:
        """See `Codec.tool_result`. Held while a reply runs."""
        owner = next((reply for reply in self._replies.values() if call in reply.calls), None)
        calls = owner.calls if owner else self._free_calls
        if call not in calls:
            return ()
        calls.discard(call)
        answer: dict[str, Any] = {"type": "tool.result", "call_id": call, "result": result}
        message = dumps(answer | {"is_error": True} if is_error else answer)
        self._results.append((owner.id if owner else "", message))
        return self._flush()

    def generate(self, instructions: str) -> Sequence[Message]:
        """See `Codec.generate`. The service itself puts it behind a running reply."""
        self._cut_off = False
        return [dumps({"type": "reply.create", "instructions": instructions})]

    def goodbye(self) -> Sequence[Message]:
        """See `Codec.goodbye`. A socket that is merely closed is billed for about 30 s more."""
        return [dumps({"type": "session.end"})]

    def to_send(self) -> Sequence[Message]:
        """See `Codec.to_send`."""
        messages, self._outbox = self._outbox, []
        return messages

    def _running(self) -> _Reply | None:
        return next((r for r in reversed(self._replies.values()) if r.running), None)

    def _flush(self) -> list[Message]:
        """Send the results of tools, unless a reply runs."""
        if self._running() and self._settings.tool_results == "after_reply":
            return []
        messages = [message for _, message in self._results]
        self._results.clear()
        return messages

    # -- receiving ----------------------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> Sequence[Event]:
        """See `Codec.receive`."""
        try:
            data = parse(message)
            kind = text(data, "type")
            read = self._READERS.get(kind)
            if read is not None:
                return read(self, data)
        except Malformed:
            self.malformed += 1
            return ()
        if kind not in UNUSED:
            self.unknown += 1
        return ()

    def closed(self, code: int, reason: str) -> Event:
        """See `Codec.closed`."""
        return closing.closed(code, reason, "AssemblyAI", self._secrets)

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (self._key,) if self._key else ()

    def _say(self, words: str) -> str:
        return sentence(words, self._secrets)

    def _session_ready(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name = text(data, "session_id", "")
        tools = objects(mapping(data, "config", optional=True), "tools")
        remote = {text(tool, "name", "") for tool in tools if "http" in tool}
        if self._ready:
            return ()
        self._ready = True
        self._remote_tools = remote
        return [Ready(self._say(name), resume=name), *_expiry(data)]

    def _session_ended(self, _: Mapping[str, Any]) -> Sequence[Event]:
        return [Ended()]

    def _speech_started(self, _: Mapping[str, Any]) -> Sequence[Event]:
        self._talking, self._cut_off = True, False
        return [UserStarted()]

    def _speech_stopped(self, _: Mapping[str, Any]) -> Sequence[Event]:
        self._talking = False
        self._hush = 0
        return [UserStopped()]

    def _user_delta(self, data: Mapping[str, Any]) -> Sequence[Event]:
        return [UserText(text(data, "text"), final=False, item=text(data, "item_id", ""))]

    def _user_text(self, data: Mapping[str, Any]) -> Sequence[Event]:
        event = UserText(text(data, "text"), final=True, item=text(data, "item_id", ""))
        self._hush, self._cut_off = 0, False
        return [event]

    def _reply_started(self, data: Mapping[str, Any]) -> Sequence[Event]:
        events = self._begin(text(data, "reply_id"))[1]
        self._hush = 0
        return events

    def _begin(self, name: str) -> tuple[_Reply, list[Event]]:
        """Return the reply of this name, begun now if it is new. Only one runs at a time, so its predecessor is over."""
        known = self._replies.get(name)
        if known is not None:
            return known, []
        if hash(name) in self._forgotten:  # late sound of it is nobody's
            return _Reply(name, running=False, unwanted=True, reported=True), []
        events = [event for reply in self._replies.values() if reply.running for event in self._finish(reply, "completed")]
        reply = self._replies[name] = _Reply(name)
        while len(self._replies) > REMEMBERED:
            oldest = next(iter(self._replies))
            del self._replies[oldest]
            self._forgotten.append(hash(oldest))
        events.append(ReplyStarted(name))
        if self._cut_off:
            reply.unwanted = reply.reported = True
            events.append(ReplyDone(name, "cancelled"))  # nobody waits for more
        return reply, events

    def _reply_audio(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name, pcm = text(data, "reply_id"), sound(data, "data")
        reply, events = self._begin(name)
        if reply.unwanted or reply.reported or not pcm:
            return events
        return [*events, ReplyAudio(name, pcm if self._law == "pcm" else g711.decode(pcm, self._law))]

    def _reply_delta(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name, word = text(data, "reply_id"), text(data, "delta")
        reply, events = self._begin(name)
        if reply.unwanted or reply.reported or not word:
            return events
        if reply.said and not reply.said[-1].isspace() and word[0].isalnum():
            word = " " + word  # words come one by one, without the blanks between them
        reply.said += word
        return [*events, ReplyText(name, word)]

    def _reply_text(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name, words = text(data, "reply_id"), text(data, "text", "")
        reply, events = self._begin(name)
        if words and not (reply.said or reply.unwanted or reply.reported):
            reply.said = words
            events.append(ReplyText(name, words))
        if data.get("interrupted") is True:
            events += self._interrupted(reply)
        return events

    def _reply_done(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name, status = text(data, "reply_id"), text(data, "status", "completed").lower()
        reply, events = self._begin(name)
        if status == "interrupted":
            events += self._interrupted(reply)
        else:
            events += self._finish(reply, status if status in ("cancelled", "failed") else "completed")
        reply.running = self._cancelling = False
        self._outbox += self._flush()
        return events

    def _reply_error(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name, code, words = text(data, "reply_id"), text(data, "code", ""), text(data, "message", "")
        reply, events = self._begin(name)
        events += self._finish(reply, "failed", self._say(words or code))
        self._outbox += self._flush()
        return events

    def _finish(self, reply: _Reply, status: str, reason: str = "") -> list[Event]:
        reply.running = False
        if reply.reported:
            return []
        reply.reported = True
        return [ReplyDone(reply.id, status, reason)]

    def _interrupted(self, reply: _Reply) -> list[Event]:
        """The person talked over a reply: its tools have become pointless."""
        running = reply.running
        events: list[Event] = [ToolCancelled(call) for call in sorted(reply.calls)]
        reply.calls.clear()
        self._results = [(owner, message) for owner, message in self._results if owner != reply.id]
        events += self._finish(reply, "interrupted")
        reply.running = running  # until `reply.done`
        return events

    def _tool_call(self, data: Mapping[str, Any]) -> Sequence[Event]:
        call, name = text(data, "call_id"), text(data, "name")
        if name in self._remote_tools or call in self._called:
            return ()
        self._called.append(call)
        reply = self._running()
        try:
            given = arguments(data, "arguments")
        except Malformed:  # the agent has to learn of it, or it waits until the call is too old
            self.malformed += 1
            (reply.calls if reply else self._free_calls).add(call)
            self._outbox += self.tool_result(call, "the arguments are not the JSON of an object", is_error=True)
            return ()
        (reply.calls if reply else self._free_calls).add(call)
        return [ToolCall(call, name, given, reply=reply.id if reply else "")]

    def _error(self, data: Mapping[str, Any]) -> Sequence[Event]:
        nested = mapping(data, "error", optional=True) if isinstance(data.get("error"), dict) else data
        code, words, param = text(nested, "code", "").lower(), text(nested, "message", ""), text(nested, "param", "")
        if self._cancelling and code in REFUSALS:
            self._cancels = self._cancelling = False
            return [Failed("benign", "AssemblyAI refused reply.cancel: replies are silenced here only")]
        reason = f"AssemblyAI: {self._say(words or code or 'an error without a message')}"
        if code in ("unauthorized", "forbidden"):
            reason += "; check service.api_key"
        refused = self._refused(param, words) if code in REFUSALS and not self._ready else ""
        if refused == "voice":
            reason = f"AssemblyAI has no voice {self._settings.voice!r}: choose another in service.voice, or null"
        elif param:
            reason += f" ({self._say(param)})"
        kind = ERROR_KINDS.get(code, "benign" if self._ready else "config")
        if code in NO_RESUME and self._opening.resume and not self._ready:
            kind = "fatal"  # asking once more is pointless; a new session is not
        return [Failed(kind, reason, refused)]

    def _refused(self, param: str, words: str) -> str:
        """Return which of `OPTIONAL` the service has refused."""
        named = next((name for name in OPTIONAL if name in param), "")
        if not named and "voice" in words.lower():
            named = "voice"
        given = self._opening.tools if named == "tools" else getattr(self._settings, named, None)
        return named if given else ""

    _READERS: ClassVar[Mapping[str, Callable[[AssemblyAI, Mapping[str, Any]], Sequence[Event]]]] = {
        "error": _error,
        "input.speech.started": _speech_started,
        "input.speech.stopped": _speech_stopped,
        "reply.audio": _reply_audio,
        "reply.done": _reply_done,
        "reply.error": _reply_error,
        "reply.started": _reply_started,
        "session.ended": _session_ended,
        "session.error": _error,
        "session.ready": _session_ready,
        "tool.call": _tool_call,
        "transcript.agent": _reply_text,
        "transcript.agent.delta": _reply_delta,
        "transcript.user": _user_text,
        "transcript.user.delta": _user_delta,
    }
