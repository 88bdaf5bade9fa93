"""OpenAI Realtime (GA): what a client may send, and what becomes of the session's settings. Pure.

Shapes and wording follow https://platform.openai.com/docs/api-reference/realtime-client-events; where the rehearsal can do less
than the service (images, tools that the service runs itself) it refuses instead of pretending.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from pipit.offline.ear import TurnDetection
from pipit.rehearsal.formats import COMPANDED, Format
from pipit.rehearsal.shapes import Refused, Shape, anything, array, by, either, flag, nullable, number, one_of, record, text

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")

CODES = {"unknown": "unknown_parameter", "missing": "missing_required_parameter", "type": "invalid_type", "value": "invalid_value"}
"""Kind of refusal -> error code."""

DEFAULT_HZ = 24000

_SEMANTIC_SILENCE_MS = {"low": 1000, "medium": 600, "auto": 600, "high": 400}
"""Stands in for a model that judges whether the sentence is complete."""

_VAD_DEFAULTS: dict[str, dict[str, Any]] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {"type": "semantic_vad", "eagerness": "auto", "create_response": True, "interrupt_response": True},
}
_TRANSCRIBERS = (
    *("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-4o-mini-transcribe-2025-12-15", "gpt-4o-transcribe-diarize"),
    *("gpt-transcribe", "gpt-live-transcribe", "gpt-realtime-whisper"),
)
_EFFORTS = ("minimal", "low", "medium", "high", "xhigh")

_TURN_DETECTION = by(
    "type",
    {
        "server_vad": record(
            {
                "type": text,
                "threshold": number(0, 1),
                "prefix_padding_ms": number(0, 10_000, whole=True),
                "silence_duration_ms": number(0, 10_000, whole=True),
                "idle_timeout_ms": one_of(None),  # the rehearsal never speaks unasked
                "create_response": flag,
                "interrupt_response": flag,
            }
        ),
        "semantic_vad": record(
            {
                "type": text,
                "eagerness": one_of("low", "medium", "high", "auto"),
                "create_response": flag,
                "interrupt_response": flag,
            }
        ),
    },
)
_TRANSCRIPTION = record(
    {
        "model": one_of(*_TRANSCRIBERS),
        "language": text,
        "languages": array(text),
        "prompt": text,
        "keywords": array(text),
        "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
    }
)
_NOISE_REDUCTION = record({"type": one_of("near_field", "far_field"), "strength": number(0, 2)}, required=["type"])
_FUNCTION = record({"type": text, "name": text, "description": text, "parameters": anything}, required=["name"])
_TOOLS = array(by("type", {"function": _FUNCTION}))
_TOOL_CHOICE = either(
    by("type", {"function": record({"type": text, "name": text}, required=["name"])}), one_of("auto", "none", "required")
)
_TOKENS = either(number(1, 4096, whole=True), one_of("inf"))
_MODALITIES = one_of(["audio"], ["text"])
_TRUNCATION = either(
    record(
        {"type": one_of("retention_ratio"), "retention_ratio": number(0, 1), "token_limits": anything},
        required=["type", "retention_ratio"],
    ),
    one_of("auto", "disabled"),
)
_REASONING = record({"effort": one_of(*_EFFORTS)})


def _voice(value: Any, path: str) -> None:
    record({"id": text}, required=["id"])(value, path) if isinstance(value, dict) else one_of(*VOICES)(value, path)


def _format(rates_hz: Sequence[int]) -> Shape:
    companded = record({"type": text})
    return by("type", {"audio/pcm": record({"type": text, "rate": one_of(*rates_hz)}), **dict.fromkeys(COMPANDED, companded)})


def _session(rates_hz: Sequence[int]) -> Shape:
    audio = record(
        {
            "input": record(
                {
                    "format": _format(rates_hz),
                    "noise_reduction": nullable(_NOISE_REDUCTION),
                    "transcription": nullable(_TRANSCRIPTION),
                    "turn_detection": nullable(_TURN_DETECTION),
                }
            ),
            "output": record({"format": _format(rates_hz), "voice": _voice, "speed": number(0.25, 1.5)}),
        }
    )
    return record(
        {
            "type": one_of("realtime"),
            "model": text,
            "instructions": nullable(text),
            "output_modalities": _MODALITIES,
            "audio": audio,
            "tools": _TOOLS,
            "tool_choice": _TOOL_CHOICE,
            "parallel_tool_calls": flag,
            "max_output_tokens": nullable(_TOKENS),
            "truncation": _TRUNCATION,
            "reasoning": nullable(_REASONING),
            "tracing": anything,
            "prompt": one_of(None),  # stored prompts live at the service
            "include": nullable(array(one_of("item.input_audio_transcription.logprobs"))),
        },
        required=["type"],
    )


def _message(role: str, **contents: Shape) -> Shape:
    fields = {"id": text, "object": text, "type": text, "status": text, "role": one_of(role)}
    return record({**fields, "content": array(by("type", contents))}, required=["content"])


_INPUT_TEXT = record({"type": text, "text": text}, required=["text"])
_ITEM = by(
    "type",
    {
        "message": by(
            "role",
            {
                "user": _message(
                    "user",
                    input_text=_INPUT_TEXT,
                    input_audio=record({"type": text, "audio": text, "transcript": nullable(text)}, required=["audio"]),
                ),
                "system": _message("system", input_text=_INPUT_TEXT),
                "assistant": _message("assistant", output_text=_INPUT_TEXT),
            },
        ),
        "function_call": record(
            {"id": text, "object": text, "type": text, "status": text, "call_id": text, "name": text, "arguments": text},
            required=["name", "arguments"],
        ),
        "function_call_output": record(
            {"id": text, "object": text, "type": text, "status": text, "call_id": text, "output": text},
            required=["call_id", "output"],
        ),
    },
)
_REFERENCE = record({"type": one_of("item_reference"), "id": text}, required=["type", "id"])


def _metadata(value: Any, path: str) -> None:
    if value is None:
        return
    record({name: text for name in value} if isinstance(value, dict) else {})(value, path)
    if len(value) > 16:
        raise Refused("value", path, f"Invalid value: {len(value)} entries. Expected at most 16.")


def _response(rates_hz: Sequence[int]) -> Shape:
    output = record({"format": _format(rates_hz), "voice": _voice})
    return record(
        {
            "instructions": nullable(text),
            "conversation": one_of("auto", "none"),
            "input": array(either(_REFERENCE, _ITEM)),
            "metadata": _metadata,
            "output_modalities": _MODALITIES,
            "audio": record({"output": output}),
            "tools": _TOOLS,
            "tool_choice": _TOOL_CHOICE,
            "parallel_tool_calls": flag,
            "max_output_tokens": nullable(_TOKENS),
            "reasoning": nullable(_REASONING),
            "prompt": one_of(None),
        }
    )


def _event(required: Mapping[str, Shape], optional: Mapping[str, Shape] | None = None) -> Shape:
    return record({"type": text, "event_id": text, **required, **(optional or {})}, required=list(required))


def client_events(rates_hz: Sequence[int]) -> Shape:
    """Return the shape of everything that a client may send, for a service that takes sound at these rates."""
    return by(
        "type",
        {
            "session.update": _event({"session": _session(rates_hz)}),
            "input_audio_buffer.append": _event({"audio": text}),
            "input_audio_buffer.commit": _event({}),
            "input_audio_buffer.clear": _event({}),
            "conversation.item.create": _event({"item": _ITEM}, {"previous_item_id": nullable(text)}),
            "conversation.item.retrieve": _event({"item_id": text}),
            "conversation.item.delete": _event({"item_id": text}),
            "conversation.item.truncate": _event(
                {"item_id": text, "content_index": number(0, 0, whole=True), "audio_end_ms": number(0, 10**9, whole=True)}
            ),
            "response.create": _event({}, {"response": nullable(_response(rates_hz))}),
            "response.cancel": _event({}, {"response_id": text}),
        },
    )


def defaults(session_id: str, model: str, expires_at: int, rate_hz: int) -> dict[str, Any]:
    """Return the settings that a session begins with."""
    sound = {"type": "audio/pcm", "rate": rate_hz}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "You are a helpful voice agent in a rehearsal. Answer briefly.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
        "expires_at": expires_at,
        "audio": {
            "input": {
                "format": dict(sound),
                "noise_reduction": None,
                "transcription": None,
                "turn_detection": dict(_VAD_DEFAULTS["server_vad"]),
            },
            "output": {"format": dict(sound), "voice": "marin", "speed": 1.0},
        },
    }


def updated(session: Mapping[str, Any], patch: Mapping[str, Any], *, sounded: bool) -> dict[str, Any]:
    """Return the settings with a well-shaped patch applied; what is absent stays.

    Args:
        session: the settings so far.
        patch: the `session` of a `session.update` that `client_events` has let pass.
        sounded: the agent has already been heard, which locks its voice.

    Raises:
        Refused: a field may not change any more.
    """
    if patch.get("model", session["model"]) != session["model"]:
        raise Refused(
            "value", "session.model", f"Invalid value: the model of a running session is {session['model']!r} and stays so."
        )
    result = _merge(session, patch)
    voice = result["audio"]["output"]["voice"]
    if sounded and voice != session["audio"]["output"]["voice"]:
        message = "Cannot update a conversation's voice if assistant audio is present."
        raise Refused("value", "session.audio.output.voice", message, "cannot_update_voice")
    return result


def _merge(old: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(old))
    for name, value in patch.items():
        if name == "turn_detection" and value is not None:
            same = (old.get(name) or {}).get("type") == value["type"]
            result[name] = {**(old[name] if same else _VAD_DEFAULTS[value["type"]]), **value}
        elif name in ("audio", "input", "output"):
            result[name] = _merge(old[name], value)
        elif name == "format" and value["type"] == "audio/pcm":
            result[name] = {"rate": old[name].get("rate", DEFAULT_HZ), **value}
        else:
            result[name] = value
    return result


def turn_detection(session: Mapping[str, Any]) -> TurnDetection | None:
    """Return how the session's turns are detected; None if the client decides."""
    vad = session["audio"]["input"]["turn_detection"]
    if vad is None:
        return None
    if vad["type"] == "semantic_vad":
        return TurnDetection(silence_ms=_SEMANTIC_SILENCE_MS[vad["eagerness"]])
    return TurnDetection(vad["threshold"], vad["silence_duration_ms"], vad["prefix_padding_ms"])


def format_of(session: Mapping[str, Any], direction: str) -> Format:
    """Return how sound travels: "input" is what the client sends."""
    chosen = session["audio"][direction]["format"]
    return Format.of(chosen["type"], chosen.get("rate", DEFAULT_HZ))
