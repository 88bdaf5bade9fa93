"""The section `service` for a cascade: what all services have, and a section for each stage and for whose turn it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipit.core.options import Secret, option
from pipit.services.settings import CommonSettings


@dataclass(frozen=True)
class HearSettings:
    """Speech to text."""

    engine: str = option(
        "auto",
        "What turns speech into text. auto: the provider's own. openai: any OpenAI-compatible audio/transcriptions.",
        choices=("auto", "fish", "openai", "pocketsphinx", "wyoming"),
    )
    url: str | None = option(None, "Address in place of the engine's own.", example="http://127.0.0.1:8000/v1")
    api_key: Secret | None = option(None, "Key, where it is not that of the service.")
    model: str | None = option(None, "Model, in the engine's words. Null: the engine's default.")
    language: str | None = option(None, "Language that is spoken, two letters. Null: the engine finds out.", example="en")
    encoding: str = option("msgpack", "How sound is sent to Fish Audio.", choices=("msgpack", "multipart"))


@dataclass(frozen=True)
class ThinkSettings:
    """The language model."""

    engine: str = option(
        "auto",
        "What answers. chat: any OpenAI-compatible chat/completions. offline: a few skills, without a network.",
        choices=("auto", "chat", "offline"),
    )
    url: str = option(
        "https://api.openai.com/v1",
        "Address of the language model, without chat/completions.",
        example="http://127.0.0.1:11434/v1",
    )
    api_key: Secret | None = option(None, "Key of the language model. A server on this host needs none.")
    model: str = option("gpt-5-mini", "Model, in the server's words.")
    tool_rounds: int = option(4, "How often in a row the model may call tools before it must answer.", minimum=0, maximum=20)
    extra: Mapping[str, Any] = option(
        factory=dict, doc="Merged into each request as it is, last.", example={"reasoning_effort": "low"}
    )


@dataclass(frozen=True)
class SpeakSettings:
    """Text to speech."""

    engine: str = option(
        "auto",
        "What turns text into speech. auto: the provider's own.",
        choices=("auto", "espeak-ng", "fish", "piper", "wyoming"),
    )
    url: str | None = option(None, "Address in place of the engine's own.", example="tcp://127.0.0.1:10200")
    api_key: Secret | None = option(None, "Key, where it is not that of the service.")
    model: str | None = option(
        None, "Model, in the engine's words; Piper's is a file, NAME.onnx. Null: the engine's default.", paths=(".onnx",)
    )
    speed: float = option(1.0, "How fast it talks.", minimum=0.5, maximum=2)
    transport: str = option(
        "live",
        "How Fish Audio is talked to: one WebSocket for a reply, or one HTTP request for a sentence.",
        choices=("live", "http"),
    )
    latency: str = option(
        "balanced", "What Fish Audio prefers: to be quick or to sound well.", choices=("low", "balanced", "normal")
    )
    clone: bool = option(
        False,
        "Reply in the caller's voice, cloned by Fish Audio from the utterance that is being answered. Only for people who have "
        "said that they agree.",
    )


@dataclass(frozen=True)
class TurnSettings:
    """When it is whose turn, found out on this device."""

    threshold: float = option(0.5, "What counts as speech: 0 nearly everything, 1 only what surely is.", minimum=0, maximum=1)
    silence_ms: int = option(600, "Pause that ends what you say.", unit="ms", minimum=200, maximum=5000)
    padding_ms: int = option(300, "Sound before your first word that is transcribed as well.", unit="ms", minimum=0, maximum=2000)
    preemptive: bool = option(
        True,
        "Transcribe and ask the model at the first short pause already; dropped without a trace if you go on. Costs requests.",
    )
    pause_ms: int = option(250, "That first short pause.", unit="ms", minimum=100, maximum=2000)


@dataclass(frozen=True)
class Settings(CommonSettings):
    """The section `service` for a cascade."""

    hear: HearSettings = option(factory=HearSettings, doc="Speech to text.")
    think: ThinkSettings = option(factory=ThinkSettings, doc="The language model.")
    speak: SpeakSettings = option(factory=SpeakSettings, doc="Text to speech.")
    turn: TurnSettings = option(factory=TurnSettings, doc="When it is whose turn.")
