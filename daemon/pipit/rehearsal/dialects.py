"""What distinguishes other services that speak OpenAI's Realtime protocol: each refuses and sends what the real one does. Pure.

A dialect stands between the wire and the session, which speaks OpenAI's own (GA) version: `heard` turns what the client sent into
GA or refuses it, `said` turns GA into what the client gets. What is known of each service is in its documentation and in client
libraries (November 2026); what these leave open is let pass.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from pipit.rehearsal.shapes import Refused, array, number, text

Event = dict[str, Any]


class Dialect:
    """OpenAI's own."""

    rates_hz: tuple[int, ...] | None = None
    """Sample rates that it takes, its default first; None: as the server was told to behave."""
    session_limit_s: float | None = None
    holds_turns = False
    """A turn whose answer the client wants to ask for itself is closed by the client as well."""
    answers_commits = False
    """A turn that the client closes is answered without being asked for."""
    answers_pings = True
    query = ""
    """What `asks_for` wants after the address."""
    header = "authorization"
    value = "Bearer {key}"

    def admits(self, headers: Mapping[str, str], query: Mapping[str, list[str]], key: str) -> bool:
        """Say whether this is how the key is presented."""
        return headers.get(self.header, "") == self.value.format(key=key)

    def asks_for(self, query: Mapping[str, list[str]]) -> str | None:
        """Say what is wrong with the address, apart from the key."""
        return None

    def heard(self, event: Event) -> Event:
        """Return a client's event as OpenAI's client would have sent it.

        Raises:
            Refused: the service does not take it.
        """
        return event

    def answers(self, event: Event) -> list[Event]:
        """Return what a message is answered with that OpenAI does not know; nothing: it is none of these."""
        return []

    def said(self, event: Event) -> list[Event]:
        """Return what the client gets in place of one event."""
        return [event]


class Azure(Dialect):
    """Azure OpenAI: another header."""

    header = "api-key"
    value = "{key}"


class LocalAI(Dialect):
    """LocalAI: nothing can be truncated, and a turn that the client closes is answered."""

    answers_commits = True

    def heard(self, event: Event) -> Event:
        """See `Dialect.heard`."""
        _without(event, "conversation.item.truncate")
        return event


class Inworld(Dialect):
    """Inworld: the model stands in the session."""

    value = "Basic {key}"
    query = "?key=rehearsal&protocol=realtime"

    def asks_for(self, query: Mapping[str, list[str]]) -> str | None:
        """See `Dialect.asks_for`."""
        return None if query.get("key") and query.get("protocol") == ["realtime"] else "key and protocol=realtime are needed"

    def heard(self, event: Event) -> Event:
        """See `Dialect.heard`."""
        session = _session(event)
        if session is not None:
            if not session.pop("model", None):
                raise Refused("missing", "session.model", "Missing required parameter: 'session.model'.")
            _field(session, "audio", "output").pop("model", None)
            _any_voice(_field(session, "audio", "output"))
        return event


class XAI(Dialect):
    """xAI: voice and turn detection at the top of the session, a message that is spoken as it is."""

    rates_hz = (24000, 8000, 16000, 22050, 32000, 44100, 48000)

    def __init__(self) -> None:
        self._heard: dict[str, str] = {}

    def heard(self, event: Event) -> Event:
        """See `Dialect.heard`."""
        session = _session(event)
        if session is not None:
            hears, speaks = _field(session, "audio", "input"), _field(session, "audio", "output")
            for place, name in ((hears, "turn_detection"), (speaks, "voice")):
                if name in place:
                    raise Refused("unknown", f"session.audio.{name}", f"Unknown parameter: {name} belongs into session itself.")
            _any_voice(session)
            if "turn_detection" in session:
                chosen = session.pop("turn_detection")
                hears["turn_detection"] = None if chosen == {"type": None} else chosen
            _spoken_forms(session)
            _only_server_vad(hears)
            hears.setdefault("transcription", {"model": "gpt-4o-mini-transcribe"})
        item = event.get("item")
        if event.get("type") == "conversation.item.create" and isinstance(item, dict) and item.get("type") == "force_message":
            words = item["content"][0]["text"]
            return {"type": "response.create", "response": {"instructions": f"Say exactly this, and nothing else: {words}"}}
        return event

    def said(self, event: Event) -> list[Event]:
        """See `Dialect.said`."""
        if event["type"] == "session.created":
            return [event, {"type": "ping", "event_id": "event_ping"}]
        if event["type"] == "conversation.item.input_audio_transcription.delta":
            words = self._heard[event["item_id"]] = self._heard.get(event["item_id"], "") + event["delta"]
            updated = {**event, "type": "conversation.item.input_audio_transcription.updated", "transcript": words}
            del updated["delta"]
            return [updated]
        return [event]


class Yandex(Dialect):
    """Yandex AI Studio: fewer settings, the client asks for the reply, and its words come as text."""

    rates_hz = (24000, 8000, 16000, 44100)
    session_limit_s = 300.0
    holds_turns = True
    answers_pings = False
    value = "Api-Key {key}"
    voices = ("marina", "dasha", "masha", "kirill", "alena", "filipp", "ermil", "jane", "omazh", "zahar", "alexander", "lera")

    def admits(self, headers: Mapping[str, str], query: Mapping[str, list[str]], key: str) -> bool:
        """See `Dialect.admits`; an IAM token is sent like OpenAI's keys."""
        given = headers.get("authorization", "")
        return given.lower() == f"api-key {key.lower()}" if not key.startswith("t1.") else given == f"Bearer {key}"

    def asks_for(self, query: Mapping[str, list[str]]) -> str | None:
        """See `Dialect.asks_for`."""
        model = query.get("model", [""])[0]
        return None if model.startswith("gpt://") else f"model {model!r} is none: gpt://FOLDER/NAME"

    def heard(self, event: Event) -> Event:
        """See `Dialect.heard`."""
        session = _session(event)
        if session is None:
            return event
        hears, speaks = _field(session, "audio", "input"), _field(session, "audio", "output")
        for name in ("transcription", "noise_reduction"):
            if name in hears:
                path = f"session.audio.input.{name}"
                raise Refused("unknown", path, f"Unknown parameter: '{path}'.")
        _only_server_vad(hears)
        modalities = session.pop("output_modalities", ["audio"])
        if sorted(modalities) not in (["audio"], ["audio", "text"]):
            raise Refused("value", "session.output_modalities", f"Invalid modalities: {modalities}.")
        if speaks.get("voice", "marina") not in self.voices:
            raise Refused("value", "session.audio.output.voice", f"Invalid value: {speaks['voice']!r}.")
        _any_voice(speaks)
        array(text)(hears.pop("languages", []), "session.audio.input.languages")
        text(speaks.pop("role", ""), "session.audio.output.role")
        hears["transcription"] = {"model": "gpt-4o-mini-transcribe"}
        return event

    def said(self, event: Event) -> list[Event]:
        """See `Dialect.said`."""
        match event["type"]:
            case "session.updated":
                return [event, event]
            case "conversation.item.input_audio_transcription.delta" | "rate_limits.updated" | "input_audio_buffer.cleared":
                return []
            case "response.output_audio_transcript.delta":
                return [{**event, "type": "response.output_text.delta"}]
            case "response.output_audio_transcript.done":
                done = {**event, "type": "response.output_text.done", "text": event["transcript"]}
                del done["transcript"]
                return [done]
        return [event]


_BETA_SESSION = {
    *("modalities", "instructions", "voice", "input_audio_format", "output_audio_format", "input_audio_transcription"),
    *("turn_detection", "tools", "tool_choice", "temperature", "max_response_output_tokens"),
}
_OLDER = {
    "conversation.item.added": "conversation.item.created",
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio.done": "response.audio.done",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
    "response.output_audio_transcript.done": "response.audio_transcript.done",
    "response.output_text.delta": "response.text.delta",
    "response.output_text.done": "response.text.done",
}


class Beta(Dialect):
    """The version before GA, as servers at home still speak it: a flat session and older names."""

    formats: Mapping[str, tuple[int, int]] = {"pcm16": (24000, 24000)}
    """Name of a format -> its rate for what is heard, and for what is said."""
    companded: Mapping[str, str] = {"g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
    """Name of a format -> as it is called now."""
    known = frozenset(_BETA_SESSION)
    """Fields of the session."""

    def heard(self, event: Event) -> Event:
        """See `Dialect.heard`."""
        session = _session(event)
        if session is not None:
            event["session"] = self._ga(session)
        response = event.get("response")
        if event.get("type") == "response.create" and isinstance(response, dict) and "modalities" in response:
            response["output_modalities"] = ["audio"] if "audio" in response.pop("modalities") else ["text"]
        item = event.get("item")
        if event.get("type") == "conversation.item.create" and isinstance(item, dict):
            for part in item.get("content", ()):
                if part.get("type") == "output_text":
                    raise Refused("value", "item.content[0].type", "Invalid value: 'output_text'. Supported values are: 'text'.")
                part["type"] = {"text": "output_text"}.get(part.get("type"), part.get("type"))
        return event

    def _ga(self, session: Event) -> Event:
        for name in session:
            if name not in self.known:
                raise Refused("unknown", f"session.{name}", f"Unknown parameter: 'session.{name}'.")
        hears: Event = {"format": self._format(session, "input_audio_format", 0)}
        speaks: Event = {"format": self._format(session, "output_audio_format", 1)}
        if "input_audio_transcription" in session:
            hears["transcription"] = session["input_audio_transcription"]
        if "turn_detection" in session:
            hears["turn_detection"] = session["turn_detection"]
        audible = "audio" in session.get("modalities", ["audio"])
        result: Event = {"type": "realtime", "audio": {"input": hears, "output": speaks}}
        result["output_modalities"] = ["audio"] if audible else ["text"]
        result |= {name: session[name] for name in ("instructions", "tools", "tool_choice") if name in session}
        return result

    def _format(self, session: Event, name: str, index: int) -> Event:
        chosen = session.get(name, next(iter(self.formats)))
        if chosen in self.companded:
            return {"type": self.companded[chosen]}
        if chosen not in self.formats:
            known = ", ".join((*self.formats, *self.companded))
            raise Refused("value", f"session.{name}", f"Invalid value: {chosen!r}. Supported values are: {known}.")
        return {"type": "audio/pcm", "rate": self.formats[chosen][index]}

    def said(self, event: Event) -> list[Event]:
        """See `Dialect.said`."""
        if event["type"] == "conversation.item.done":
            return []
        event = {**event, "type": _OLDER.get(event["type"], event["type"])}
        if event["type"] in ("session.created", "session.updated"):
            event["session"] = self._flat(event["session"])
        return [event]

    def _flat(self, session: Mapping[str, Any]) -> Event:
        """Return a GA session as the beta version shows it."""
        hears, speaks = session["audio"]["input"], session["audio"]["output"]
        names = ("id", "object", "model", "instructions", "tools", "tool_choice")
        return {
            **{name: copy.deepcopy(session[name]) for name in names if name in session},
            "modalities": ["audio", "text"],
            "voice": speaks["voice"],
            "input_audio_format": self._name(hears),
            "output_audio_format": self._name(speaks),
            "input_audio_transcription": hears["transcription"],
            "turn_detection": hears["turn_detection"],
        }

    def _name(self, place: Mapping[str, Any]) -> str:
        """Return what a format is called."""
        older = {now: name for name, now in self.companded.items()}
        return older.get(place["format"]["type"], next(iter(self.formats)))


class Speaches(Beta, LocalAI):
    """Speaches: sound has the one format that it has, and a session that names one is answered with an error."""

    def heard(self, event: Event) -> Event:
        """See `Dialect.heard`."""
        _without(event, "conversation.item.truncate")
        for name in _session(event) or ():
            if name in ("input_audio_format", "output_audio_format"):
                raise Refused("value", f"session.{name}", f"Specifying `session.{name}` is not supported.")
        return super().heard(event)


class Qwen(Beta):
    """Qwen-Omni: hears at 16 kHz, speaks at 24 kHz; tools in an object of their own.

    Fields and values are those of its documentation and of Alibaba's own client (package dashscope), which differ in how formats
    are called: both are taken.
    """

    rates_hz = (16000, 24000, 8000, 48000)
    formats: Mapping[str, tuple[int, int]] = dict.fromkeys(("pcm", "pcm16", "pcm24"), (16000, 24000))
    companded: Mapping[str, str] = {}
    known = frozenset({*_BETA_SESSION, "audio", "enable_search", "sample_rate", "smooth_output"})

    def answers(self, event: Event) -> list[Event]:
        """See `Dialect.answers`."""
        return [{"type": "session.finished"}] if event.get("type") == "session.finish" else []

    def heard(self, event: Event) -> Event:
        """See `Dialect.heard`."""
        _without(event, "conversation.item.truncate")
        session = _session(event)
        if session is not None:
            if session.get("modalities", ["text"]) not in (["text"], ["text", "audio"]):
                raise Refused("value", "session.modalities", 'Invalid modalities. Supported: ["text"] and ["text", "audio"].')
            for index, tool in enumerate(session.get("tools", ())):
                if not isinstance(tool.get("function"), dict):
                    path = f"session.tools[{index}].function"
                    raise Refused("missing", path, f"Missing required parameter: '{path}'.")
                session["tools"][index] = {"type": "function", **tool["function"]}
            detection = session.get("turn_detection")
            if isinstance(detection, dict) and "threshold" in detection:
                number(-1, 1)(detection["threshold"], "session.turn_detection.threshold")
                detection["threshold"] = max(0.0, detection["threshold"])
        return super().heard(event)

    def _ga(self, session: Event) -> Event:
        # A session has a transcription when it begins; names of the models for it are not the rehearsal's business.
        if session.get("input_audio_transcription", {}) is not None:
            session["input_audio_transcription"] = {"model": "gpt-4o-mini-transcribe"}
        result = super()._ga(session)
        for name in ("input", "output"):
            chosen = _field(session, "audio", name, "format")
            if chosen.get("type", "pcm") != "pcm":
                path = f"session.audio.{name}.format.type"
                raise Refused("value", path, f"Invalid value: {chosen['type']!r}. The rehearsal has 'pcm'.")
            if "sample_rate" in chosen:
                result["audio"][name]["format"]["rate"] = chosen["sample_rate"]
        return result


DIALECTS: Mapping[str, Callable[[], Dialect]] = {
    "openai": Dialect,
    "azure": Azure,
    "yandex": Yandex,
    "xai": XAI,
    "inworld": Inworld,
    "qwen": Qwen,
    "localai": LocalAI,
    "speaches": Speaches,
    "realtime-beta": Beta,
}
"""Name of a service -> what distinguishes it."""


def _session(event: Event) -> Event | None:
    """Return the session of a `session.update`, to be changed in place."""
    session = event.get("session")
    return session if event.get("type") == "session.update" and isinstance(session, dict) else None


def _field(session: Event, *names: str) -> Event:
    """Return an object inside an object; an empty one that belongs to nothing where there is none."""
    for name in names:
        inner = session.get(name)
        if not isinstance(inner, dict):
            return {}
        session = inner
    return session


def _without(event: Event, kind: str) -> None:
    if event.get("type") == kind:
        raise Refused("value", "type", f"Invalid value: '{kind}' is not supported.", "unknown_event")


def _any_voice(place: Event) -> None:
    """Take the service's own voices for granted: the rehearsal has none of them."""
    if not isinstance(place.get("voice", ""), str):
        raise Refused("type", "session.voice", "Invalid type for 'session.voice': expected a string.")
    place.pop("voice", None)


def _spoken_forms(session: Event) -> None:
    """Take how words are said: written form -> spoken form. The rehearsal's agent says none of them."""
    forms = session.pop("replace", {})
    if not isinstance(forms, dict) or not all(isinstance(said, str) for said in forms.values()):
        raise Refused("type", "session.replace", "Invalid type for 'session.replace': expected an object of strings.")


def _only_server_vad(hears: Event) -> None:
    chosen = hears.get("turn_detection")
    if isinstance(chosen, dict) and chosen.get("type") != "server_vad":
        message = f"Invalid value: {chosen.get('type')!r}. Supported values are: 'server_vad'."
        raise Refused("value", "session.turn_detection.type", message)
