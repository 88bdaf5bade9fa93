"""AssemblyAI Voice Agent: what a client may send, and what becomes of the session's settings. Pure.

Shapes follow https://www.assemblyai.com/docs/voice-agents; what needs an agent stored at the service (HTTP tools, telephony, own
models) is refused, as the service refuses it for sessions without one.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pipit.offline.ear import TurnDetection
from pipit.rehearsal.formats import COMPANDED, COMPANDED_HZ, Format
from pipit.rehearsal.shapes import Refused, Shape, anything, array, by, flag, number, one_of, record, text

VOICES = (
    *("alba", "anna", "charles", "estelle", "eve", "george", "giovanni", "iris", "jane", "jean", "juergen", "lola", "mary"),
    *("michael", "paul", "rafael", "reid", "vera"),
)

CODES = {"unknown": "invalid_format", "missing": "invalid_format", "type": "invalid_format", "value": "invalid_value"}
"""Kind of refusal -> error code."""

_STAYS_OPEN = ("agent_timeout", "audio_rate_violation", "invalid_audio", "invalid_format", "invalid_value", "immutable_field")

_IMMUTABLE = ("greeting", "input.type", "input.format", "output.type", "output.voice", "output.format", "agent_id")
"""What only the first update may set."""

_ADAPTIVE_SILENCE_MS = {"min_latency": 400, "balanced": 600, "max_accuracy": 1000}
"""Pause that ends a turn when the client does not set one; stands in for the service's adaptive endpointing."""

_TURN_DETECTION = record(
    {
        "type": one_of("server_vad", "semantic_vad"),
        "vad_threshold": number(0, 1),
        "min_silence": number(50, 10_000),
        "max_silence": number(50, 10_000),
        "interrupt_response": flag,
        "interruption_delay": number(0, 1000),
        "uninterruptible_turns": array(one_of("greeting", "dtmf_prompt", "tool_refused_ask")),
    }
)
_TOOL = record(
    {
        "type": one_of("function"),
        "name": text,
        "description": text,
        "parameters": anything,
        "execution_mode": one_of("interactive", "hold"),
        "timeout_seconds": number(1, 300),
        "response_instructions": record({"success": text, "error": text}),
    },
    required=["type", "name"],
)


def _text_up_to(longest: int, shortest: int = 0) -> Shape:
    def check(value: Any, path: str) -> None:
        text(value, path)
        if not shortest <= len(value) <= longest:
            raise Refused("value", path, f"{path} has {len(value)} characters; {shortest} to {longest} are allowed")

    return check


def _format(rates_hz: Sequence[int]) -> Shape:
    companded = record({"encoding": text, "sample_rate": one_of(COMPANDED_HZ)})
    pcm = record({"encoding": text, "sample_rate": one_of(*rates_hz)})
    return by("encoding", {"audio/pcm": pcm, **dict.fromkeys(COMPANDED, companded)})


def _session(rates_hz: Sequence[int]) -> Shape:
    return record(
        {
            "agent_id": text,
            "system_prompt": text,
            "greeting": _text_up_to(10_000, shortest=1),
            "tools": array(_TOOL),
            "input": record(
                {
                    "type": one_of("audio"),
                    "format": _format(rates_hz),
                    "keyterms": array(text, longest=100),
                    "transcription_mode": one_of(*_ADAPTIVE_SILENCE_MS),
                    "transcription_prompt": _text_up_to(1750),
                    "language_codes": array(text),
                    "voice_focus": one_of("near-field", "far-field"),
                    "voice_focus_threshold": number(0, 1),
                    "continuous_partials": flag,
                    "turn_detection": _TURN_DETECTION,
                }
            ),
            "output": record(
                {"type": one_of("audio"), "voice": one_of(*VOICES), "format": _format(rates_hz), "volume": number(0, 100)}
            ),
        }
    )


def client_events(rates_hz: Sequence[int], *, reply_cancel: bool = False) -> Shape:
    """Return the shape of everything that a client may send.

    Args:
        rates_hz: the rates at which the service takes PCM.
        reply_cancel: it takes `reply.cancel`, which only the schema knows and not the documentation.
    """
    undocumented = {"reply.cancel": record({"type": text, "reply_id": text}, required=["reply_id"])} if reply_cancel else {}
    return by(
        "type",
        {
            **undocumented,
            "session.update": record({"type": text, "session": _session(rates_hz)}, required=["session"]),
            "session.resume": record({"type": text, "session_id": text}, required=["session_id"]),
            "session.end": record({"type": text}),
            "input.audio": record({"type": text, "audio": text}, required=["audio"]),
            "tool.result": record(
                {"type": text, "call_id": text, "result": text, "is_error": flag}, required=["call_id", "result"]
            ),
            "reply.create": record({"type": text, "instructions": text}),
            "conversation.message": record(
                {"type": text, "role": one_of("user", "system"), "content": text}, required=["role", "content"]
            ),
        },
    )


def defaults(rate_hz: int) -> dict[str, Any]:
    """Return the settings before the first update."""
    sound = {"encoding": "audio/pcm", "sample_rate": rate_hz}
    return {
        "system_prompt": "",
        "tools": [],
        "input": {
            "type": "audio",
            "format": dict(sound),
            "keyterms": [],
            "transcription_mode": "balanced",
            "turn_detection": {"vad_threshold": 0.5, "interrupt_response": True},
        },
        "output": {"type": "audio", "voice": "estelle", "format": dict(sound), "volume": 100},
    }


def updated(config: Mapping[str, Any], patch: Mapping[str, Any], *, first: bool) -> dict[str, Any]:
    """Return the settings with a well-shaped patch applied; lists are replaced, objects merged.

    Args:
        config: the settings so far.
        patch: the `session` of a `session.update` that `client_events` has let pass.
        first: it is the session's first update, which alone may set everything.

    Raises:
        Refused: a field may not change any more, or there is no such agent.
    """
    if "agent_id" in patch:
        if not first or len(patch) > 1:
            raise Refused(
                "value", "agent_id", "agent_id must be the only field, and in the first session.update", "agent_id_not_first"
            )
        raise Refused("value", "agent_id", f"agent {patch['agent_id']!r} does not exist", "agent_not_found")
    if not first:
        for path in _IMMUTABLE:
            parent, _, name = path.rpartition(".")
            if name in (patch.get(parent, {}) if parent else patch):
                raise Refused("value", path, f"{path} cannot change after the first session.update", "immutable_field")
    result = _merge(config, patch)
    for direction in ("input", "output"):
        given = patch.get(direction, {}).get("format")
        if given is not None:
            # What the client leaves out is the encoding's own, not that of the settings before.
            own_hz = COMPANDED_HZ if given["encoding"] in COMPANDED else config[direction]["format"]["sample_rate"]
            result[direction]["format"] = {"sample_rate": own_hz, **given}
    return result


def format_of(config: Mapping[str, Any], direction: str) -> Format:
    """Return how sound travels: "input" is what the client sends."""
    chosen = config[direction]["format"]
    return Format.of(chosen["encoding"], chosen["sample_rate"])


def _merge(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(old))
    for name, value in patch.items():
        result[name] = _merge(result[name], value) if isinstance(result.get(name), dict) else value
    return result


def turn_detection(config: Mapping[str, Any]) -> TurnDetection:
    """Return how the session's turns are detected."""
    settings = config["input"]["turn_detection"]
    adaptive_ms = _ADAPTIVE_SILENCE_MS[config["input"]["transcription_mode"]]
    return TurnDetection(settings["vad_threshold"], round(settings.get("min_silence", adaptive_ms)))


def interruption_delay_s(config: Mapping[str, Any]) -> float:
    """Return how long somebody must talk to interrupt a reply."""
    settings = config["input"]["turn_detection"]
    default_ms = 0 if config["input"]["transcription_mode"] == "min_latency" else 500
    return float(settings.get("interruption_delay", default_ms)) / 1000


def tool_timeout_s(config: Mapping[str, Any], name: str) -> float:
    """Return how long the service waits for the result of a tool."""
    return next((float(tool.get("timeout_seconds", 120)) for tool in config["tools"] if tool["name"] == name), 120.0)


def is_held(config: Mapping[str, Any], name: str) -> bool:
    """Say whether the agent is silent until a tool has answered."""
    return any(tool["name"] == name and tool.get("execution_mode") == "hold" for tool in config["tools"])


def closes(code: str) -> int | None:
    """Return with which code the service closes the socket after an error in the middle of a session; None: it does not."""
    return None if code in _STAYS_OPEN else 1011 if code == "internal_error" else 1008
