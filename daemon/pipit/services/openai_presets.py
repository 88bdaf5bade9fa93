"""What distinguishes the services that speak OpenAI's Realtime protocol, and the session object that each is sent.

A new one is a `Preset` in `PRESETS` and a line in `pipit.services.NAMES`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipit.services.settings import ServiceSettings
from pipit.services.wire import merge


@dataclass(frozen=True)
class Preset:
    """What distinguishes one service that speaks the protocol from another."""

    title: str
    """Name, for messages."""
    url: str
    """With `{model}` where the model's name belongs."""
    model: str
    """Used where the owner names none."""
    auth: tuple[str, str] = ("Authorization", "Bearer {key}")
    """Header and its value."""
    key_needed: bool = True
    dialect: Literal["ga", "beta"] = "ga"
    """Shape of the session object that is sent."""
    input_rate_hz: int = 24000
    output_rate_hz: int = 24000
    at_top: bool = False
    """Voice and turn detection stand at the top of a GA session instead of under `audio`."""
    transcription: Mapping[str, Any] | None = None
    """How the service writes down what the person says; None where it has no such option."""
    truncate: bool = True
    """The service can be told how much of a reply was heard."""
    ping: bool = True
    """The service answers WebSocket pings."""
    max_session_s: float | None = None
    extra_session: Mapping[str, Any] = field(default_factory=dict)
    """Merged into the session, below the owner's `extra`."""


OPENAI = Preset(
    title="OpenAI",
    url="wss://api.openai.com/v1/realtime?model={model}",
    model="gpt-realtime-2.1",  # gpt-realtime and gpt-realtime-mini stop on 2027-01-20 (OpenAI's deprecations page)
    transcription={"model": "gpt-4o-mini-transcribe"},
    max_session_s=3600,
)

PRESETS: Mapping[str, Preset] = {"openai": OPENAI}
"""`service.provider` -> preset."""


def session_object(settings: ServiceSettings, preset: Preset) -> dict[str, Any]:
    """Return the session object of `session.update`."""
    shape = _beta_session if preset.dialect == "beta" else _ga_session
    session = merge(merge(shape(settings, preset), preset.extra_session), settings.extra)
    transcription = heard_field(session, preset, "transcription")
    if settings.keyterms and isinstance(transcription, dict):
        transcription.update(_keyterms(str(transcription.get("model", "")), settings.keyterms) | transcription)
    return session


def _instructions(settings: ServiceSettings) -> str:
    # The talking model hears for itself and never sees the transcript, so it has to be told as well.
    if not settings.keyterms:
        return settings.instructions
    return f"{settings.instructions}\nNames and words that you may hear: {', '.join(settings.keyterms)}."


def _turn_detection(settings: ServiceSettings) -> dict[str, Any]:
    """Return the field, or nothing: then the service's default applies. Null means that Pipit finds the end of a turn."""
    if not settings.turn_detection:
        return {}
    manual = settings.turn_detection.get("type") in (None, "none")
    return {"turn_detection": None if manual else dict(settings.turn_detection)}


def _ga_session(settings: ServiceSettings, preset: Preset) -> dict[str, Any]:
    voice = {} if settings.voice is None else {"voice": settings.voice}
    turns = _turn_detection(settings)
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
        "instructions": _instructions(settings),
        "output_modalities": ["audio"],
        "audio": {"input": hears, "output": speaks},
        **top,
    }


def _beta_session(settings: ServiceSettings, preset: Preset) -> dict[str, Any]:
    session: dict[str, Any] = {
        "instructions": _instructions(settings),
        "modalities": ["audio", "text"],
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
    }
    if preset.transcription is not None:
        session["input_audio_transcription"] = dict(preset.transcription)
    if settings.voice is not None:
        session["voice"] = settings.voice
    return session | _turn_detection(settings)


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
