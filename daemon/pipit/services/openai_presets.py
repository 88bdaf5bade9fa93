"""What distinguishes the services that speak OpenAI's Realtime protocol, and the session object that each is sent.

A new one is a `Preset` in `PRESETS`, a line in `pipit.services.NAMES` and one in the unit file, for its key.

What is known of each service comes from its own documentation and from client libraries, as of November 2026; none of them has been
tried with an account. Where sources differ, the comment says which was followed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipit.core.pronunciation import hint
from pipit.core.tool import Declaration
from pipit.services import NEW, Opening
from pipit.services.settings import ServiceSettings
from pipit.services.wire import merge


@dataclass(frozen=True)
class Preset:
    """What distinguishes one service that speaks the protocol from another."""

    title: str
    """Name, for messages."""
    url: str
    """With `{model}` where the model's name belongs, and `{unique}` for a name of the session that Pipit makes up. Empty: the owner
    must give one; `url_hint` says which."""
    model: str = ""
    """Used where the owner names none. Empty: the owner must, if the address has a place for it; `model_hint` says which."""
    url_hint: str = ""
    model_hint: str = ""
    about: str = "OpenAI's Realtime protocol."
    """What the service is, for the owner."""
    auth: tuple[str, str] = ("Authorization", "Bearer {key}")
    """Header and its value."""
    bearer_prefix: str = ""
    """Keys that begin so are tokens for a while, and sent as `Authorization: Bearer` instead."""
    key_needed: bool = True
    dialect: Literal["ga", "beta"] = "ga"
    """Shape of the session object that is sent."""
    input_rate_hz: int = 24000
    output_rate_hz: int = 24000
    beta_format: str = "pcm16"
    """What PCM is called in the beta dialect. Empty: formats are not mentioned, and the service's own apply."""
    voice: str | None = None
    """Used where the owner names none, at services that have no default."""
    at_top: bool = False
    """Voice and turn detection stand at the top of a GA session instead of under `audio`."""
    model_in_session: bool = False
    """The model is named in the session, not in the address."""
    tool_shape: Literal["flat", "nested"] = "flat"
    """Whether what describes a function stands beside its type or in an object `function`."""
    transcription: Mapping[str, Any] | None = None
    """How the service writes down what the person says; None where it has no such option."""
    turn_detection: Mapping[str, Any] = field(default_factory=dict)
    """Used where the owner says nothing."""
    manual_turns: Literal["null", "type", "unknown"] = "null"
    """How turns are left to Pipit: `turn_detection: null`, `turn_detection: {type: null}`, or nothing is known about it."""
    after_created: bool = False
    """The service must have said `session.created` before it is sent anything."""
    commits: bool = False
    """Where the service was told not to answer by itself, it also leaves it to the client to close the person's turn: some silence,
    `commit`, and after `committed` the request for the reply."""
    answers_commits: bool = False
    """A turn that the client closes is answered like one that the service closes; to ask for a reply as well would make two."""
    needs_words: bool = False
    """A turn of which the service understood nothing stays without an answer."""
    cancels: bool = False
    """Where the service was told not to interrupt by itself, Pipit cancels the reply when it hears that the person speaks."""
    exact_speech: bool = False
    """The service speaks a given text word for word (xAI's item `force_message`)."""
    pronounces: str = ""
    """The session's field that takes how words are said; empty: there is none, and the agent is asked in its instructions."""
    truncate: bool = True
    """The service can be told how much of a reply was heard."""
    ping: bool = True
    """The service answers WebSocket pings."""
    max_session_s: float | None = None
    """The service ends a session after this time."""
    extra_session: Mapping[str, Any] = field(default_factory=dict)
    """Fields that only this service has, or wants otherwise; merged into the session, below the owner's `extra`."""


OPENAI = Preset(
    title="OpenAI",
    about="OpenAI's Realtime API.",
    url="wss://api.openai.com/v1/realtime?model={model}",
    model="gpt-realtime-2.1",  # gpt-realtime and gpt-realtime-mini stop on 2027-01-20 (OpenAI's deprecations page)
    transcription={"model": "gpt-4o-mini-transcribe"},
    max_session_s=3600,
)

AZURE = Preset(
    title="Azure OpenAI",
    about="OpenAI's models at Microsoft Azure: needs url (of your resource) and model (your deployment).",
    url="",
    url_hint="wss://RESOURCE.openai.azure.com/openai/v1/realtime",
    model_hint="the name of your deployment",
    auth=("api-key", "{key}"),
    bearer_prefix="eyJ",  # a Microsoft Entra token
    transcription={"model": "gpt-4o-mini-transcribe"},
    max_session_s=1800,  # its documentation has said 30 minutes; OpenAI's hour may hold by now
)

YANDEX = Preset(
    title="Yandex AI Studio",
    about="Yandex AI Studio: needs model, gpt://FOLDER/NAME.",
    url="wss://ai.api.cloud.yandex.net/v1/realtime?model={model}",
    model_hint="gpt://FOLDER/speech-realtime-260528",
    auth=("Authorization", "Api-Key {key}"),
    bearer_prefix="t1.",  # an IAM token
    # From here on as in its tutorial "Creating a voice agent".
    output_rate_hz=44100,
    extra_session={"output_modalities": ["text", "audio"]},
    voice="marina",
    turn_detection={
        "type": "server_vad",
        "threshold": 0.5,
        "silence_duration_ms": 200,
        "create_response": False,
        "interrupt_response": False,
    },
    manual_turns="unknown",  # its documentation knows no other value than server_vad
    commits=True,
    cancels=True,
    ping=False,  # pings stayed without an answer in a published recording, and the socket was given up for dead
    max_session_s=300,  # its concepts page
)

XAI = Preset(
    title="xAI",
    about="xAI's voice agent, Grok.",
    url="wss://api.x.ai/v1/realtime?model={model}",
    model="grok-voice-latest",
    at_top=True,
    manual_turns="type",  # its documentation: turn_detection.type is "server_vad" or null
    exact_speech=True,
    pronounces="replace",
    max_session_s=3600,  # as fal.ai, which passes it on, has it in its documentation; xAI's own says nothing about it
)

INWORLD = Preset(
    title="Inworld",
    about="Inworld's Realtime API.",
    url="wss://api.inworld.ai/api/v1/realtime/session?key={unique}&protocol=realtime",
    model="openai/gpt-4.1-nano",
    auth=("Authorization", "Basic {key}"),
    bearer_prefix="eyJ",  # a JSON web token
    model_in_session=True,
)

QWEN = Preset(
    title="Qwen-Omni",
    about="Alibaba's Qwen-Omni.",
    url="wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime?model={model}",
    model="qwen3.5-omni-plus-realtime",
    dialect="beta",
    # Its documentation calls both formats "pcm" since March 2026 and called them "pcm16" and "pcm24" before; its own client
    # (package dashscope 2.0.2) says "pcm16" of both. All mean 16 kHz in and 24 kHz out, that client's default.
    beta_format="",
    input_rate_hz=16000,
    extra_session={"modalities": ["text", "audio"]},  # in this order, as it is documented
    # No transcription is asked for: in its documentation a session has one when it begins, and names of models have changed.
    tool_shape="nested",
    after_created=True,
    truncate=False,
    max_session_s=7200,  # its user guide
)

LOCALAI = Preset(
    title="LocalAI",
    about="LocalAI, on a machine at home: needs model, the name of a pipeline.",
    url="ws://127.0.0.1:8080/v1/realtime?model={model}",
    model_hint="the name of your pipeline",
    key_needed=False,
    answers_commits=True,  # this and Speaches' are in their source, as of 2026
    truncate=False,
)

SPEACHES = Preset(
    title="Speaches",
    about="Speaches, on a machine at home: needs model.",
    url="ws://127.0.0.1:8000/v1/realtime?model={model}",
    model_hint="the language model that it is to use",
    key_needed=False,
    dialect="beta",
    beta_format="",  # a session that names one is answered with an error; it is 24 kHz both ways
    manual_turns="unknown",  # a reply that is asked for at once does not know what was said: it is still being written down
    answers_commits=True,
    needs_words=True,
    truncate=False,
)

REALTIME = Preset(
    title="the server",
    about="Any server that speaks OpenAI's Realtime protocol: needs url.",
    url="",
    url_hint="ws://127.0.0.1:8137/v1/realtime",
    key_needed=False,
)

REALTIME_BETA = dataclasses.replace(
    REALTIME, about="Any server that speaks the protocol's beta version, with its older names: needs url.", dialect="beta"
)

PRESETS: Mapping[str, Preset] = {
    "openai": OPENAI,
    "azure": AZURE,
    "yandex": YANDEX,
    "xai": XAI,
    "inworld": INWORLD,
    "qwen": QWEN,
    "localai": LOCALAI,
    "speaches": SPEACHES,
    "realtime": REALTIME,
    "realtime-beta": REALTIME_BETA,
}
"""`service.provider` -> preset. `realtime` is any server at `service.url`; `realtime-beta` one with the older names."""


def missing(settings: ServiceSettings, preset: Preset) -> list[str]:
    """Return what the owner has to add before the service can be reached, one problem a line."""
    problems = []
    if not preset.url and settings.url is None:
        problems.append(f"service.url: {preset.title} has no address of its own; write it, like {preset.url_hint}")
    elif preset.model_hint and not (settings.model or preset.model or (settings.url and "model=" in settings.url)):
        problems.append(f"service.model: {preset.title} needs one: {preset.model_hint}")
    if preset.manual_turns == "unknown" and _manual(settings.turn_detection):
        problems.append(
            f"service.turn_detection.type: {preset.title} finds the end of a turn itself; as far as is known, none is not possible"
        )
    return problems


def session_object(settings: ServiceSettings, preset: Preset, opening: Opening = NEW) -> dict[str, Any]:
    """Return the session object of `session.update`."""
    settings, preset = _reduced(settings, preset, opening.without)
    shape = _beta_session if preset.dialect == "beta" else _ga_session
    session = merge(merge(shape(settings, preset), preset.extra_session), settings.extra)
    if preset.model_in_session:
        session.setdefault("model", settings.model or preset.model)
    if preset.pronounces and settings.pronunciation:
        session = merge({preset.pronounces: dict(settings.pronunciation)}, session)
    if opening.tools and "tools" not in opening.without:
        session["tools"] = [_tool(tool, preset) for tool in opening.tools] + list(settings.extra.get("tools") or ())
    transcription = heard_field(session, preset, "transcription")
    if settings.keyterms and isinstance(transcription, dict):
        transcription.update(_keyterms(str(transcription.get("model", "")), settings.keyterms) | transcription)
    return session


OPTIONAL = ("tools", "voice", "keyterms", "turn_detection", "transcription", "replace")
"""Settings without which a session is better than none, as they are called in `Opening.without` and in what services refuse."""


def _reduced(settings: ServiceSettings, preset: Preset, without: frozenset[str]) -> tuple[ServiceSettings, Preset]:
    """Take out what the service has refused."""
    if "voice" in without:
        settings, preset = dataclasses.replace(settings, voice=None), dataclasses.replace(preset, voice=None)
    if "keyterms" in without:
        settings = dataclasses.replace(settings, keyterms=())
    if "turn_detection" in without:
        settings, preset = dataclasses.replace(settings, turn_detection={}), dataclasses.replace(preset, turn_detection={})
    if "transcription" in without:
        preset = dataclasses.replace(preset, transcription=None)
    if "replace" in without:
        preset = dataclasses.replace(preset, pronounces="")
    return settings, preset


def _tool(tool: Declaration, preset: Preset) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function} if preset.tool_shape == "nested" else {"type": "function", **function}


def _instructions(settings: ServiceSettings, preset: Preset) -> str:
    told = [settings.instructions]
    if settings.keyterms:
        # The talking model hears for itself and never sees the transcript, so it has to be told as well.
        told.append(f"Names and words that you may hear: {', '.join(settings.keyterms)}.")
    if settings.pronunciation and not preset.pronounces:
        told.append(hint(settings.pronunciation))
    return "\n".join(told)


def _turn_detection(settings: ServiceSettings, preset: Preset) -> dict[str, Any]:
    """Return the field, or nothing: then the service's default applies. Null means that Pipit finds the end of a turn."""
    chosen = settings.turn_detection or preset.turn_detection
    if not chosen:
        return {}
    if _manual(chosen):
        return {"turn_detection": {"type": None} if preset.manual_turns == "type" else None}
    return {"turn_detection": dict(chosen)}


def _manual(chosen: Mapping[str, Any]) -> bool:
    """Whether the owner leaves turns to Pipit."""
    return bool(chosen) and chosen.get("type") in (None, "none")


def _voice(settings: ServiceSettings, preset: Preset) -> dict[str, Any]:
    voice = settings.voice or preset.voice
    return {} if voice is None else {"voice": voice}


def _ga_session(settings: ServiceSettings, preset: Preset) -> dict[str, Any]:
    voice = _voice(settings, preset)
    turns = _turn_detection(settings, preset)
    hears: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": preset.input_rate_hz}}
    speaks: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": preset.output_rate_hz}}
    if preset.transcription is not None:
        hears["transcription"] = dict(preset.transcription)
    top = {**turns, **voice} if preset.at_top else {}
    if not preset.at_top:
        hears |= turns
        speaks |= voice
    return {
        "type": "realtime",
        "instructions": _instructions(settings, preset),
        "output_modalities": ["audio"],
        "audio": {"input": hears, "output": speaks},
        **top,
    }


def _beta_session(settings: ServiceSettings, preset: Preset) -> dict[str, Any]:
    session: dict[str, Any] = {
        "instructions": _instructions(settings, preset),
        "modalities": ["audio", "text"],
    }
    if preset.beta_format:
        session |= {"input_audio_format": preset.beta_format, "output_audio_format": preset.beta_format}
    if preset.transcription is not None:
        session["input_audio_transcription"] = dict(preset.transcription)
    return session | _voice(settings, preset) | _turn_detection(settings, preset)


def heard_field(session: Mapping[str, Any], preset: Preset, name: str) -> Any:
    """Return what the session says of `transcription` or `turn_detection`; an empty object where it says nothing."""
    if preset.dialect == "beta":
        return session.get({"transcription": "input_audio_transcription"}.get(name, name), {})
    if preset.at_top and name in session:
        return session[name]
    audio = session.get("audio")
    hears = audio.get("input") if isinstance(audio, Mapping) else None
    return hears.get(name, {}) if isinstance(hears, Mapping) else {}


def _keyterms(model: str, keyterms: Sequence[str]) -> dict[str, Any]:
    """Return what tells a transcription model which words to expect: see openai.types.realtime.AudioTranscription."""
    if model.startswith("gpt-4o"):
        return {"prompt": f"Expect these words: {', '.join(keyterms)}."}
    if model.startswith("whisper"):
        return {"prompt": ", ".join(keyterms)}
    return {} if model == "gpt-realtime-whisper" else {"keywords": list(keyterms)}
