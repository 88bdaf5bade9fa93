"""OpenAI's Realtime protocol over WebSocket: JSON text, sound as base64, 24 kHz both ways.

Many services and servers speak it with small differences; `openai_presets` holds what differs, as data. Messages of the general
availability (GA) version and of the beta version are understood alike, because home-made servers still use the older names.

What the codec has to remember: which replies there are and which sound items they consist of (to say how much was heard), whether
the service is busy with a reply (it makes only one at a time), and results of tools that wait for the end of one.

Reference: the client and server events in OpenAI's API documentation, and the types of its Python package (openai.types.realtime).
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qs, quote, urlsplit

from pipit.errors import ConfigError
from pipit.services import (
    NEW,
    Capabilities,
    Event,
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
    UserStarted,
    UserStopped,
    UserText,
    closing,
)
from pipit.services.openai_presets import OPENAI, OPTIONAL, PRESETS, Preset, heard_field, missing, session_object
from pipit.services.sessions import Sessions
from pipit.services.settings import ServiceSettings, check
from pipit.services.wire import (
    Malformed,
    arguments,
    dumps,
    encode,
    mapping,
    objects,
    parse,
    sentence,
    sound,
    text,
    whole,
)

REMEMBERED = 32
"""Replies and unfinished transcripts that are kept; a service that never finishes any must not fill the memory."""

FORGOTTEN = 1000
"""Older replies of which it is known that they are over."""


@dataclass(frozen=True)
class Settings(ServiceSettings):
    """The section `service` for OpenAI and what speaks its protocol. `turn_detection: {type: none}` leaves turns to Pipit."""


DOCS: Mapping[str, str] = {name: preset.about for name, preset in PRESETS.items()}
"""`service.provider` -> what it is, for the owner."""


def build(settings: Settings, name: str = "openai") -> Opener:
    """Return a factory of sessions.

    Args:
        settings: the section `service`.
        name: which preset.

    Raises:
        ConfigError: the key, the address or the model is missing, or the URL cannot be used.
    """
    preset = PRESETS[name]
    if problems := missing(settings, preset):
        raise ConfigError(*problems)
    check(settings, preset.title, name, key_needed=preset.key_needed)
    return Sessions(lambda opening: OpenAIRealtime(settings, preset, opening), settings)


BETA_NAMES: Mapping[str, str] = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "response.text.delta": "response.output_text.delta",
    "response.text.done": "response.output_text.done",
}
"""Beta name -> GA name, of what is read."""

UNUSED = frozenset(
    {
        "conversation.created",
        "conversation.item.added",
        "conversation.item.created",
        "conversation.item.deleted",
        "conversation.item.done",
        "conversation.item.input_audio_transcription.segment",
        "conversation.item.retrieved",
        "conversation.item.truncated",
        "input_audio_buffer.cleared",
        "input_audio_buffer.timeout_triggered",
        "mcp_list_tools.completed",
        "mcp_list_tools.failed",
        "mcp_list_tools.in_progress",
        "ping",
        "rate_limits.updated",
        "response.audio.done",
        "response.content_part.added",
        "response.content_part.done",
        "response.function_call_arguments.delta",
        "response.mcp_call.completed",
        "response.mcp_call.failed",
        "response.mcp_call.in_progress",
        "response.mcp_call_arguments.delta",
        "response.mcp_call_arguments.done",
        "response.output_audio.done",
        "response.output_item.added",
    }
)
"""Known messages that say nothing new. They are not counted as unknown."""

SILENT_PIECES, SILENT_PIECE_MS = 5, 100
"""What is sent before a turn is closed by hand, as in Yandex's tutorial: its recogniser wants to hear that nobody speaks."""

COURTESY = "courtesy"
"""Begins the event id of what may fail without harm: cancelling or truncating a reply that has just ended."""

BENIGN_CODES = frozenset({"response_cancel_not_active", "input_audio_buffer_commit_empty"})

ERROR_KINDS: Mapping[str, str] = {
    "invalid_api_key": "config",
    "model_not_found": "config",
    "beta_api_shape_disabled": "fatal",
    "account_deactivated": "fatal",
    "billing_hard_limit_reached": "fatal",
    "insufficient_quota": "fatal",
    "session_expired": "retryable",
}
"""Error codes that end the session, and what they mean for the next one."""

BUSY_KINDS: Mapping[str, str] = {"rate_limit_exceeded": "retryable", "server_error": "retryable"}
"""Error codes that end the session only while somebody waits for a reply."""

FAILED_KINDS: Mapping[str, str] = {**ERROR_KINDS, "rate_limit_exceeded": "retryable"}
"""Error codes that end the session when a reply failed with them; after others the next reply may be better."""


@dataclass
class _Part:
    """One piece of sound in a reply."""

    item: str
    index: int
    received: int = 0  # bytes


@dataclass
class _Reply:
    id: str
    running: bool = True
    """The service is still making it."""
    unwanted: bool = False
    """Cancelled or interrupted: whatever else comes of it is dropped."""
    reported: bool = False
    """`ReplyDone` was given."""
    parts: list[_Part] = field(default_factory=list)
    worded: set[str] = field(default_factory=set)
    """Items whose words came piece by piece, so that the whole text at the end is not repeated."""
    calls: set[str] = field(default_factory=set)
    """Tools that are being run for it."""
    results: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _Ask:
    """A reply that we want: the `response` of `response.create`, and whether to ask again if the service was busy."""

    response: dict[str, Any]
    again: bool = True


class OpenAIRealtime:
    """The codec. See `pipit.services.Codec`.

    Args:
        settings: the section `service`.
        preset: which service.
        opening: what the session begins with.
    """

    def __init__(self, settings: ServiceSettings, preset: Preset = OPENAI, opening: Opening = NEW) -> None:
        self.unknown = 0
        self.malformed = 0
        self.input_rate_hz = preset.input_rate_hz
        self.output_rate_hz = preset.output_rate_hz
        self._settings = settings
        self._preset = preset
        self._key = settings.api_key.reveal() if settings.api_key else ""
        self._opening = opening
        self._unique = f"pipit-{uuid.uuid4().hex[:12]}"
        self._session = session_object(settings, preset, opening)
        detection = heard_field(self._session, preset, "turn_detection")
        self._manual = detection is None or (isinstance(detection, Mapping) and detection.get("type", "") is None)
        detection = detection if isinstance(detection, Mapping) else {}
        self._creates = not self._manual and detection.get("create_response", True) is not False
        self._interrupts = not self._manual and detection.get("interrupt_response", True) is not False
        self._cancels = preset.cancels and not self._manual and not self._interrupts
        self._commits = preset.commits and not self._manual and not self._creates
        self.capabilities = Capabilities(
            server_turns=not self._manual,
            truncate=preset.truncate,
            speech_interrupts=self._interrupts or self._cancels,
            ping=preset.ping,
            max_session_s=preset.max_session_s,
        )
        self._name = ""
        self._latest: tuple[object, Message] = "", ""
        """The message that came last, and its id."""
        self._numbered = True
        """As far as is known, no two messages have the same id."""
        self._ready = False
        self._sent = 0
        self._outbox: list[Message] = []
        self._replies: dict[str, _Reply] = {}
        self._forgotten: deque[int] = deque(maxlen=FORGOTTEN)
        """Hashes of the names of older replies."""
        self._asked: dict[str, _Ask] = {}
        """The reply that was asked for and has not begun, by event id."""
        self._overtaken: dict[str, _Ask] = {}
        """What was asked for when the latest reply began, which may have been the service's own and not the answer to it."""
        self._talking = False
        """The person talks, as far as the service has said."""
        self._gone_on = False
        """The person went on after a reply was asked for that has not begun, where Pipit cancels replies, or has called it off."""
        self._promised = False
        """The service is about to begin a reply by itself."""
        self._unanswered = False
        """The person has finished, and no reply has been asked for yet; only where we close the person's turn."""
        self._queue: deque[_Ask] = deque()
        self._heard: dict[str, str] = {}
        """What was understood so far, by the person's item."""

    # -- sending ------------------------------------------------------------------------------------------------------------------

    def request(self) -> Request:
        """See `Codec.request`. A URL of the owner gets the model only if it names none and `service.model` does."""
        model = self._settings.model or self._preset.model
        url = self._settings.url
        if url is None:
            url = self._preset.url.format(model=quote(model, safe=""), unique=self._unique)
        elif self._settings.model and "model" not in parse_qs(urlsplit(url).query):
            url += ("&" if urlsplit(url).query else "?") + "model=" + quote(model, safe="")
        header, value = self._preset.auth
        if self._preset.bearer_prefix and self._key.startswith(self._preset.bearer_prefix):
            header, value = "Authorization", "Bearer {key}"
        return Request(url, {header: value.format(key=self._key)} if self._key else {})

    def hello(self) -> Sequence[Message]:
        """See `Codec.hello`. What was said so far follows the session's settings, item by item."""
        return () if self._preset.after_created else self._configure()

    def _configure(self) -> list[Message]:
        messages: list[Message] = [self._message("session.update", session=self._session)]
        for line in self._opening.history:
            said = "text" if self._preset.dialect == "beta" else "output_text"
            content = {"type": said if line.by_agent else "input_text", "text": line.text}
            item = {"type": "message", "role": "assistant" if line.by_agent else "user", "content": [content]}
            messages.append(self._message("conversation.item.create", COURTESY, item=item))
        return messages

    def audio(self, pcm: bytes) -> Sequence[Message]:
        """See `Codec.audio`. Put together by hand: a fifth of the time of the JSON encoder, for fifty messages a second."""
        return [f'{{"type":"input_audio_buffer.append","audio":"{encode(pcm)}"}}'] if pcm else ()

    def end_turn(self) -> Sequence[Message]:
        """See `Codec.end_turn`. Nothing is sent where the service has just decided the same, and the person has not gone on."""
        if not self._manual and (self._promised or (self._asked and not self._talking)):
            return ()
        self._talking = False
        if self._commits:
            return self._commit()
        commit = self._message("input_audio_buffer.commit", COURTESY)
        return [commit] if self._preset.answers_commits else [commit, *self._ask(_Ask({}, again=False))]

    def _commit(self) -> list[Message]:
        """Close the person's turn; the reply is asked for once the service has said `committed`."""
        self._unanswered = True
        (silence,) = self.audio(bytes(self.input_rate_hz * 2 * SILENT_PIECE_MS // 1000))
        return [*[silence] * SILENT_PIECES, self._message("input_audio_buffer.commit", COURTESY)]

    def interrupt(self, reply: str | None, heard_ms: int, *, by_service: bool) -> Sequence[Message]:
        """See `Codec.interrupt`. A reply that the service has finished is only truncated."""
        target = self._running() if reply is None else self._replies.get(reply)
        if target is None:
            self._gone_on = self._gone_on or (reply is None and bool(self._asked or (self._manual and self._promised)))
            return ()
        target.unwanted = True
        messages: list[Message] = []
        if target.running and not target.reported and not by_service:
            messages.append(self._message("response.cancel", COURTESY, response_id=target.id))
        if self._preset.truncate:
            messages += self._unheard(target, heard_ms)
        return messages

    def tool_result(self, call: str, result: str, *, is_error: bool) -> Sequence[Message]:
        """See `Codec.tool_result`. Held until the reply is done and all its tools have answered. An error is said in words."""
        for reply in self._replies.values():
            if call in reply.calls:
                reply.calls.discard(call)
                output = f"Error: {result}" if is_error else result
                reply.results.append({"type": "function_call_output", "call_id": call, "output": output})
                return self._proceed()
        return ()

    def generate(self, instructions: str) -> Sequence[Message]:
        """See `Codec.generate`. Waits for the end of a running reply."""
        # What is given with a reply takes the place of the session's instructions, so these are repeated.
        return self._ask(_Ask({"instructions": f"{self._session.get('instructions', '')}\n\n{instructions}".strip()}))

    def goodbye(self) -> Sequence[Message]:
        """See `Codec.goodbye`. The protocol has no word for it: closing is enough."""
        return ()

    def to_send(self) -> Sequence[Message]:
        """See `Codec.to_send`."""
        messages, self._outbox = self._outbox, []
        return messages

    def _message(self, kind: str, tag: str = "pipit", /, **fields: Any) -> str:
        self._sent += 1
        return dumps({"type": kind, "event_id": f"{tag}_{self._sent}", **fields})

    def _running(self) -> _Reply | None:
        return next((r for r in reversed(self._replies.values()) if r.running), None)

    def _ask(self, ask: _Ask) -> list[Message]:
        """Ask for a reply now, or as soon as the service can make one. A plain one answers all that was said and found out."""
        if ask.response or all(waiting.response for waiting in self._queue):
            self._queue.append(ask)
        return self._proceed()

    def _proceed(self) -> list[Message]:
        """Send what had to wait for the end of a reply, if there is none any more."""
        if self._promised or self._asked or self._running():
            return []
        messages: list[Message] = []
        wanted = False
        for reply in self._replies.values():
            if reply.results and not reply.calls:
                messages += [self._message("conversation.item.create", item=item) for item in reply.results]
                reply.results.clear()
                wanted = wanted or not reply.unwanted
        if wanted and all(ask.response for ask in self._queue):
            self._queue.appendleft(_Ask({}))
        if self._queue and not self._talking:  # nobody is talked over
            ask = self._queue.popleft()
            fields: dict[str, Any] = {"response": ask.response} if ask.response else {}
            messages.append(self._message("response.create", **fields))
            self._asked = {f"pipit_{self._sent}": ask}
        return messages

    def _unheard(self, reply: _Reply, heard_ms: int) -> list[Message]:
        """Take back from the service's memory what of a reply nobody heard."""
        per_ms = self.output_rate_hz * 2 / 1000
        messages: list[Message] = []
        begun: set[str] = set()  # items of which something was heard: to delete one would take that back as well
        deleted: set[str] = set()
        parts, reply.parts = reply.parts, []
        for part in parts:
            length_ms = int(part.received / per_ms)
            growing = reply.running and part is parts[-1]
            if heard_ms <= 0 and part.item not in begun:
                if part.item not in deleted:
                    messages.append(self._message("conversation.item.delete", COURTESY, item_id=part.item))
                deleted.add(part.item)
                continue
            begun.add(part.item)
            if heard_ms >= length_ms and not growing:
                heard_ms -= length_ms
            else:
                end_ms = min(heard_ms, length_ms)
                truncated = {"item_id": part.item, "content_index": part.index, "audio_end_ms": end_ms}
                messages.append(self._message("conversation.item.truncate", COURTESY, **truncated))
                heard_ms = 0
        return messages

    # -- receiving ----------------------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> Sequence[Event]:
        """See `Codec.receive`."""
        try:
            data = parse(message)
            kind = text(data, "type")
            if self._repeats(message, data):
                return ()
            read = self._READERS.get(BETA_NAMES.get(kind, kind))
            if read is not None:
                return read(self, data)
        except Malformed:
            self.malformed += 1
            return ()
        if kind not in UNUSED:
            self.unknown += 1
        return ()

    def _repeats(self, message: Message, data: Mapping[str, Any]) -> bool:
        """Return whether a frame came twice in a row, by mistake: sound would be heard twice, too.

        Two pieces of silence look alike as well, so ids must tell; at servers that give one id to different events they do not.
        """
        name, alike = data.get("event_id"), message == self._latest[1]
        if name == self._latest[0] and not alike:
            self._numbered = False
        self._latest = name, message
        return alike and self._numbered and bool(name)

    def closed(self, code: int, reason: str) -> Event:
        """See `Codec.closed`."""
        if code == 4000:
            return Failed("fatal", f"{self._preset.title} refused the protocol: {self._say(reason) or 'code 4000'}")
        return closing.closed(code, reason, self._preset.title, self._secrets)

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (self._key,) if self._key else ()

    def _say(self, words: str) -> str:
        return sentence(words, self._secrets)

    def _session_created(self, data: Mapping[str, Any]) -> Sequence[Event]:
        self._name = text(mapping(data, "session", optional=True), "id", "")
        if self._preset.after_created and not self._sent:
            self._outbox += self._configure()
        return ()

    def _session_updated(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name = text(mapping(data, "session", optional=True), "id", "") or self._name
        if self._ready:
            return ()
        self._ready = True
        if self._settings.greeting and self._opening.greet:
            self._outbox += self._exactly(self._settings.greeting)
        return [Ready(self._say(name))]

    def _exactly(self, words: str) -> list[Message]:
        """Have a text spoken: word for word where the service can, otherwise by asking the agent for it."""
        if self._preset.exact_speech:
            content = [{"type": "output_text", "text": words}]
            item = {"type": "force_message", "role": "assistant", "content": content}
            return [self._message("conversation.item.create", item=item)]
        return list(self.generate(f"Say exactly this, and nothing else: {words}"))

    def _speech_started(self, _: Mapping[str, Any]) -> Sequence[Event]:
        self._promised = False
        self._talking = True
        self._gone_on = self._cancels and bool(self._asked)
        events: list[Event] = [UserStarted()]
        if self._interrupts or self._cancels:
            for reply in self._replies.values():
                if reply.running and not reply.reported:
                    if self._cancels:
                        self._outbox.append(self._message("response.cancel", COURTESY, response_id=reply.id))
                    reply.unwanted = reply.reported = True
                    events.append(ReplyDone(reply.id, "interrupted"))
        return events

    def _speech_stopped(self, _: Mapping[str, Any]) -> Sequence[Event]:
        talked, self._talking = self._talking, False
        if self._commits and talked:  # otherwise `end_turn` was sooner
            self._outbox += self._commit()
        return [UserStopped()]

    def _committed(self, _: Mapping[str, Any]) -> Sequence[Event]:
        if self._commits:
            # A service that has closed the turn by itself as well says so twice; if the person goes on, one reply is enough.
            if self._unanswered and not self._talking:
                self._unanswered = False
                self._outbox += self._ask(_Ask({}, again=False))
            return ()
        self._talking = False
        if self._asked or (self._manual and not self._preset.answers_commits):
            pass  # by our own `end_turn`
        elif self._creates or self._manual:
            self._promised = self._running() is None
            self._queue = deque(ask for ask in self._queue if ask.response)  # it knows the results of tools by now
        else:
            self._outbox += self._ask(_Ask({}, again=False))  # told not to, the service will not answer by itself
        return ()

    def _user_delta(self, data: Mapping[str, Any]) -> Sequence[Event]:
        item, more = text(data, "item_id", ""), text(data, "delta", "")
        whole_text = self._heard.get(item, "") + more
        self._heard[item] = whole_text
        _trim(self._heard)
        return [UserText(whole_text, final=False, item=item)] if more else ()

    def _user_update(self, data: Mapping[str, Any]) -> Sequence[Event]:
        item, words = text(data, "item_id", ""), text(data, "transcript", "") or text(data, "text", "")
        return [UserText(words, final=False, item=item)] if words else ()

    def _user_text(self, data: Mapping[str, Any]) -> Sequence[Event]:
        item, words = text(data, "item_id", ""), text(data, "transcript")
        self._heard.pop(item, None)
        events: list[Event] = [UserText(words.strip(), final=True, item=item)]
        if self._preset.needs_words and self._promised and not words.strip():
            self._promised = False
            nothing = f"nothing-{uuid.uuid4().hex[:12]}"
            events += [ReplyStarted(nothing), ReplyDone(nothing)]  # so that nobody waits for one
            self._outbox += self._proceed()
        return events

    def _user_text_failed(self, data: Mapping[str, Any]) -> Sequence[Event]:
        error = mapping(data, "error", optional=True)
        self._heard.pop(text(data, "item_id", ""), None)
        words = self._say(text(error, "message", ""))
        return [Failed("benign", f"{self._preset.title} could not write down what was said: {words}")]

    def _reply_created(self, data: Mapping[str, Any]) -> Sequence[Event]:
        return self._begin(text(mapping(data, "response"), "id"))[1]

    def _begin(self, name: str) -> tuple[_Reply, list[Event]]:
        """Return the reply of this name, begun now if it is new."""
        known = self._replies.get(name)
        if known is not None:
            return known, []
        if hash(name) in self._forgotten:  # late sound of it is nobody's
            return _Reply(name, running=False, unwanted=True, reported=True), []
        self._overtaken, self._asked = self._asked, {}
        self._promised = False
        if self._creates:
            self._talking = False  # the service takes the turn for over, even where it has not said so
        reply = self._replies[name] = _Reply(name)
        self._forgotten.extend(hash(gone) for gone in _trim(self._replies))
        if self._gone_on:  # nobody needs to hear of it
            self._gone_on = False
            reply.unwanted = reply.reported = True
            self._outbox.append(self._message("response.cancel", COURTESY, response_id=name))
            return reply, []
        return reply, [ReplyStarted(name)]

    def _which(self, data: Mapping[str, Any]) -> str:
        """Return the id of the reply that a piece belongs to; some servers leave it out."""
        running = self._running()
        name = text(data, "response_id", running.id if running else "")
        if not name:
            raise Malformed
        return name

    def _reply_audio(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name, pcm = self._which(data), sound(data, "delta")
        item, index = text(data, "item_id", ""), max(0, whole(data, "content_index", 0))
        reply, events = self._begin(name)
        if reply.unwanted or reply.reported or not pcm:
            return events
        if item:
            if not reply.parts or (reply.parts[-1].item, reply.parts[-1].index) != (item, index):
                reply.parts.append(_Part(item, index))
            reply.parts[-1].received += len(pcm)
        return [*events, ReplyAudio(name, pcm)]

    def _reply_delta(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name, words, item = self._which(data), text(data, "delta"), text(data, "item_id", "")
        reply, events = self._begin(name)
        reply.worded.add(item)
        return self._words(reply, events, words)

    def _reply_text(self, data: Mapping[str, Any]) -> Sequence[Event]:
        name, item = self._which(data), text(data, "item_id", "")
        words = text(data, "transcript", "") or text(data, "text", "")
        reply, events = self._begin(name)
        return events if item in reply.worded else self._words(reply, events, words)

    def _words(self, reply: _Reply, events: list[Event], words: str) -> Sequence[Event]:
        if reply.unwanted or reply.reported or not words:
            return events
        return [*events, ReplyText(reply.id, words)]

    def _item_done(self, data: Mapping[str, Any]) -> Sequence[Event]:
        item = mapping(data, "item")
        return self._tool_call(self._which(data), item) if item.get("type") == "function_call" else ()

    def _arguments_done(self, data: Mapping[str, Any]) -> Sequence[Event]:
        # Older servers leave the name out here; then `response.output_item.done` has it.
        return self._tool_call(self._which(data), data) if data.get("name") else ()

    def _tool_call(self, name: str, item: Mapping[str, Any]) -> list[Event]:
        call, tool = text(item, "call_id"), text(item, "name")
        reply, events = self._begin(name)
        if call in reply.calls or reply.reported or reply.unwanted or any(call == result["call_id"] for result in reply.results):
            return events
        try:
            given = arguments(item, "arguments")
        except Malformed:  # the agent has to learn of it, or it waits for ever
            self.malformed += 1
            output = "Error: the arguments are not the JSON of an object"
            reply.results.append({"type": "function_call_output", "call_id": call, "output": output})
            return events
        reply.calls.add(call)
        return [*events, ToolCall(call, tool, given, reply=name)]

    def _reply_done(self, data: Mapping[str, Any]) -> Sequence[Event]:
        response = mapping(data, "response")
        name, status = text(response, "id"), text(response, "status", "completed")
        details = mapping(response, "status_details", optional=True)
        error = mapping(details, "error", optional=True)
        reason = text(details, "reason", "")
        code, words = text(error, "code", "") or text(error, "type", ""), text(error, "message", "")
        reply, events = self._begin(name)
        for item in objects(response, "output"):
            if item.get("type") == "function_call":
                events += self._tool_call_again(name, item)
        if not reply.reported:
            events.append(ReplyDone(name, _status(status, reason), self._say(words or reason)))
        reply.running, reply.reported = False, True
        if status == "failed" and code in FAILED_KINDS:
            return [*events, Failed(FAILED_KINDS[code], f"{self._preset.title}: {self._say(words or code)}")]
        self._outbox += self._proceed()
        return events

    def _tool_call_again(self, name: str, item: Mapping[str, Any]) -> list[Event]:
        try:
            return self._tool_call(name, item)
        except Malformed:
            return []  # the end of the reply matters more

    def _error(self, data: Mapping[str, Any]) -> Sequence[Event]:
        error = mapping(data, "error")
        event_id = text(error, "event_id", "")
        code, words = text(error, "code", "") or text(error, "type", ""), text(error, "message", "")
        param = text(error, "param", "")
        if _is_benign(event_id, code, words):
            return ()
        if code == "conversation_already_has_active_response":
            self._ask_again(event_id)
            return ()
        reason = f"{self._preset.title}: {self._say(words or code or 'an error without a message')}"
        reason += f" ({self._say(param)})" if param else ""
        if code in ERROR_KINDS:
            return [Failed(ERROR_KINDS[code], reason)]
        if not self._ready:
            return [Failed(BUSY_KINDS.get(code, "config"), reason, _dispensable(param))]
        if code in BUSY_KINDS and (self._asked or self._promised or self._running()):
            return [Failed(BUSY_KINDS[code], reason)]
        if not event_id and self._asked:
            event_id = next(iter(self._asked))  # some servers do not say what it was about
        if event_id in self._asked:
            self._asked.pop(event_id)
            self._gone_on = False
            self._outbox += self._proceed()
            return [ReplyStarted(event_id), ReplyDone(event_id, "failed", reason)]
        return [Failed("benign", reason)]

    def _ask_again(self, event_id: str) -> None:
        ask = self._asked.pop(event_id, None)
        if ask is None:
            late = self._overtaken.pop(event_id, None)
            if late is not None and late.again:
                self._queue.appendleft(late)
                self._outbox += self._proceed()
            return
        self._promised = self._running() is None  # that other reply is being made; its first message is on the way
        if ask.again:
            self._queue.appendleft(ask)

    _READERS: ClassVar[Mapping[str, Callable[[OpenAIRealtime, Mapping[str, Any]], Sequence[Event]]]] = {
        "conversation.item.input_audio_transcription.completed": _user_text,
        "conversation.item.input_audio_transcription.delta": _user_delta,
        "conversation.item.input_audio_transcription.failed": _user_text_failed,
        "conversation.item.input_audio_transcription.updated": _user_update,
        "error": _error,
        "input_audio_buffer.committed": _committed,
        "input_audio_buffer.speech_started": _speech_started,
        "input_audio_buffer.speech_stopped": _speech_stopped,
        "response.created": _reply_created,
        "response.done": _reply_done,
        "response.function_call_arguments.done": _arguments_done,
        "response.output_audio.delta": _reply_audio,
        "response.output_audio_transcript.delta": _reply_delta,
        "response.output_audio_transcript.done": _reply_text,
        "response.output_item.done": _item_done,
        "response.output_text.delta": _reply_delta,
        "response.output_text.done": _reply_text,
        "session.created": _session_created,
        "session.updated": _session_updated,
    }


def _status(status: str, reason: str) -> str:
    if status == "cancelled":
        return "interrupted" if reason == "turn_detected" else "cancelled"
    return "failed" if status == "failed" else "completed"  # "incomplete" was cut short, but what came is meant to be heard


def _is_benign(event_id: str, code: str, words: str) -> bool:
    if event_id.startswith(COURTESY) or code in BENIGN_CODES:
        return True
    return code.startswith(("item_truncate", "item_delete")) or words.startswith("Cancellation failed")


def _dispensable(param: str) -> str:
    """Return which of `OPTIONAL` the service has refused, from where in the session it says that the mistake is."""
    return next((name for name in OPTIONAL if name in param), "")


def _trim(memory: dict[str, Any]) -> list[str]:
    """Remove the oldest; return their names."""
    gone = [*memory][: max(0, len(memory) - REMEMBERED)]
    for name in gone:
        del memory[name]
    return gone
