"""Voice services of three stages that are chained on this device, each stage of your choice."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from pipit.errors import ConfigError
from pipit.fetch import trusted
from pipit.services import NEW, Opener, Opening, Session
from pipit.services.cascade.guarded import NAMES, Name, Stages
from pipit.services.cascade.session import CascadeSession
from pipit.services.cascade.settings import Settings

DOCS: Mapping[str, str] = {
    "cascade": "Speech to text, a language model and text to speech of your choice, chained on this device.",
    "fish": "Fish Audio hears and speaks, and any language model of your choice answers.",
    "local": "No network at all: time and date, timers, volume, stop and help, in English.",
}

PRESETS: Mapping[str, Mapping[Name, str]] = {
    "cascade": {},
    "fish": {"hear": "fish", "think": "chat", "speak": "fish"},
    "local": {"hear": "pocketsphinx", "think": "offline", "speak": "espeak-ng"},
}
"""What "auto" means, by provider."""

ENGINES: Mapping[Name, Mapping[str, str]] = {
    "hear": {"fish": "fish_hear", "openai": "openai_hear", "pocketsphinx": "sphinx_hear", "wyoming": "wyoming_hear"},
    "think": {"chat": "chat_think", "offline": "offline_think"},
    "speak": {"espeak-ng": "espeak_speak", "fish": "fish_speak", "piper": "piper_speak", "wyoming": "wyoming_speak"},
}
"""An engine in the YAML -> its module; only those that are chosen are imported."""

HTTPS = {"chat", "fish", "openai"}
"""Engines that may need the system's certificates."""


def build(settings: Settings, name: str = "cascade") -> Opener:
    """Return a factory of sessions.

    Args:
        settings: the section `service`.
        name: which preset.

    Raises:
        ConfigError: a stage cannot be made of its settings; problems of all stages.
    """
    problems: list[str] = []
    made: dict[str, Any] = {}
    chosen = set()
    for stage in NAMES:
        engine = getattr(settings, stage).engine
        engine = PRESETS[name].get(stage, "auto") if engine == "auto" else engine
        if engine == "auto":
            problems.append(f"service.{stage}.engine: provider {name} has none of its own; one of {', '.join(ENGINES[stage])}")
            continue
        chosen.add(engine)
        try:
            made[stage] = importlib.import_module(f"pipit.services.cascade.{ENGINES[stage][engine]}").build(settings)
        except ConfigError as error:
            problems += error.problems
    if settings.turn.pause_ms >= settings.turn.silence_ms and settings.turn.preemptive:
        problems.append("service.turn.pause_ms: must be shorter than silence_ms, or turn preemptive off")
    if problems:
        raise ConfigError(*dict.fromkeys(problems))  # two stages may miss the same key
    return Cascades(Stages(**made, connect_s=settings.connect_s, read_s=settings.read_s), settings, remote=bool(chosen & HTTPS))


class Cascades:
    """A factory of sessions (see `pipit.services.Opener`).

    Args:
        stages: what the sessions are made of.
        settings: the section `service`.
        remote: whether a stage may be elsewhere.
    """

    def __init__(self, stages: Stages, settings: Settings, *, remote: bool) -> None:
        self._stages = stages
        self._settings = settings
        self._remote = remote

    def __call__(self, opening: Opening = NEW, /) -> Session:
        """Return a session that has not been opened yet."""
        return CascadeSession(self._stages, self._settings, opening)

    def prepare(self) -> None:
        """See `Opener.prepare`."""
        if self._remote:
            trusted()
