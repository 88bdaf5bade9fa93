"""What the real services refuse: every field that is not theirs, wherever it stands, and what their documentation rules out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from pipit.rehearsal import assemblyai_session, openai_session
from pipit.rehearsal.dialects import DIALECTS
from pipit.rehearsal.shapes import Refused

Event = dict[str, Any]
FUNCTION = {"type": "function", "name": "lamp", "description": "d", "parameters": {"type": "object", "properties": {"x": {}}}}


def update(session: Event) -> Event:
    return {"type": "session.update", "session": session}


ASSEMBLYAI = update(
    {
        "system_prompt": "Be brief.",
        "greeting": "Hello.",
        "tools": [
            {
                **FUNCTION,
                "execution_mode": "hold",
                "timeout_seconds": 30,
                "response_instructions": {"success": "s", "error": "e"},
            }
        ],
        "input": {
            "type": "audio",
            "format": {"encoding": "audio/pcmu", "sample_rate": 8000},
            "keyterms": ["Hue"],
            "transcription_mode": "max_accuracy",
            "transcription_prompt": "p",
            "language_codes": ["en"],
            "voice_focus": "far-field",
            "voice_focus_threshold": 0.5,
            "continuous_partials": True,
            "turn_detection": {
                "type": "semantic_vad",
                "vad_threshold": 0.5,
                "min_silence": 500,
                "max_silence": 3000,
                "interrupt_response": True,
                "interruption_delay": 0,
                "uninterruptible_turns": ["greeting"],
            },
        },
        "output": {"type": "audio", "voice": "jane", "format": {"encoding": "audio/pcm", "sample_rate": 24000}, "volume": 50},
    }
)
"""Every field that the service has for sessions without a stored agent."""

OPENAI = update(
    {
        "type": "realtime",
        "model": "gpt-realtime",
        "instructions": "Be brief.",
        "output_modalities": ["audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": {"type": "far_field", "strength": 1},
                "transcription": {"model": "gpt-transcribe", "language": "en", "prompt": "p", "keywords": ["Hue"], "delay": "low"},
                "turn_detection": {"type": "semantic_vad", "eagerness": "low", "create_response": True, "interrupt_response": True},
            },
            "output": {"format": {"type": "audio/pcmu"}, "voice": {"id": "voice_1"}, "speed": 1.2},
        },
        "tools": [FUNCTION],
        "tool_choice": {"type": "function", "name": "lamp"},
        "parallel_tool_calls": True,
        "max_output_tokens": 100,
        "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
        "reasoning": {"effort": "low"},
        "tracing": "auto",
        "include": ["item.input_audio_transcription.logprobs"],
    }
)

YANDEX = update(
    {
        "type": "realtime",
        "instructions": "Отвечай кратко.",
        "output_modalities": ["text", "audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "languages": ["ru-RU"],
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "silence_duration_ms": 200,
                    "create_response": False,
                    "interrupt_response": False,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 44100}, "voice": "marina", "role": "friendly", "speed": 1.1},
        },
        "tools": [{"type": "function", "name": "web_search", "parameters": "{}"}],
    }
)
"""As in its tutorial, with what its documentation adds."""

CHAT = [
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "{}"}},
    {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 10},
    {"type": "response.create", "response": {"instructions": "i", "metadata": {"a": "b"}, "output_modalities": ["audio"]}},
    {"type": "response.cancel", "response_id": "r"},
    {"type": "input_audio_buffer.append", "audio": ""},
    {"type": "input_audio_buffer.commit"},
]
VOICE_AGENT = [
    {"type": "session.resume", "session_id": "s"},
    {"type": "session.end"},
    {"type": "input.audio", "audio": ""},
    {"type": "tool.result", "call_id": "c", "result": "r", "is_error": False},
    {"type": "reply.create", "instructions": "i"},
    {"type": "conversation.message", "role": "user", "content": "c"},
]

FREE = ("parameters", "metadata")
"""Objects whose fields are the client's own."""


def refuse(service: str, event: Event) -> None:
    """Do what a service does with a message before it looks at the state of the session."""
    if service == "assemblyai":
        assemblyai_session.client_events((24000,))(event, "")
        return
    dialect = DIALECTS[service]()
    openai_session.client_events(dialect.rates_hz or (24000,))(dialect.heard(copy.deepcopy(event)), "")


def objects(value: Any, path: str = "") -> Iterator[tuple[str, Event]]:
    """Yield each object in an event that has fields of its own, and where it is."""
    if isinstance(value, dict):
        yield path, value
        for name, inner in value.items():
            if name not in FREE:
                yield from objects(inner, f"{path}.{name}".strip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from objects(inner, f"{path}[{index}]")


CASES = [
    *(("assemblyai", event) for event in (ASSEMBLYAI, *VOICE_AGENT)),
    *(("openai", event) for event in (OPENAI, *CHAT)),
    *(("yandex", event) for event in (YANDEX, *CHAT)),
]
NAMES = [f"{service} {event['type']}" for service, event in CASES]


@pytest.mark.parametrize(("service", "event"), CASES, ids=NAMES)
def test_what_is_documented_passes(service: str, event: Event) -> None:
    refuse(service, event)


@pytest.mark.parametrize(("service", "event"), CASES, ids=NAMES)
def test_a_field_that_is_not_its_own_is_refused_by_its_path_wherever_it_stands(service: str, event: Event) -> None:
    places = [path for path, _ in objects(event)]
    for path in places:
        spoilt = copy.deepcopy(event)
        dict(objects(spoilt))[path]["colour"] = "red"
        with pytest.raises(Refused) as refused:
            refuse(service, spoilt)
        # Where several shapes are possible the last one complains, of the whole value.
        assert refused.value.path in (f"{path}.colour".strip("."), path)
    assert len(places) == len(list(objects(event)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("session.agent_id.x", 1),
        ("session.llm", {}),
        ("session.webhook", {}),
        ("session.pre_connect_requests", []),
        ("session.greeting", None),
        ("session.greeting", ""),
        ("session.input.type", "text"),
        ("session.output.type", "text"),
        ("session.output.voice", "ivy"),
        ("session.output.voice", "Jane"),
        ("session.input.transcription_mode", "fast"),
        ("session.input.voice_focus_threshold", 1.1),
        ("session.input.turn_detection.max_silence", 20),
        ("session.input.turn_detection.interruption_delay", 1001),
        ("session.tools", [{**FUNCTION, "http": {"url": "u"}}]),
        ("session.tools", [{**FUNCTION, "timeout_seconds": 301}]),
        ("session.tools", [{"type": "mcp", "name": "m"}]),
    ],
)
def test_what_assemblyai_refuses_beyond_that(path: str, value: Any) -> None:
    spoilt = copy.deepcopy(ASSEMBLYAI)
    *way, name = path.split(".")
    place: Any = spoilt
    for step in way:
        place = place.setdefault(step, {})
    place[name] = value
    with pytest.raises(Refused) as refused:
        refuse("assemblyai", spoilt)
    assert refused.value.path.startswith(".".join(way[:2]))


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("input", "transcription", {"model": "whisper-1"}),
        ("input", "noise_reduction", {"type": "near_field"}),
        ("input", "turn_detection", {"type": "semantic_vad"}),
        ("input", "languages", "ru-RU"),
        ("input", "format", {"type": "audio/pcm", "rate": 22050}),
        ("output", "voice", "marin"),
        ("output", "role", 5),
        ("input", "role", "friendly"),
        ("output", "speed", 9),
    ],
)
def test_what_yandex_refuses_of_the_sound(place: str, name: str, value: Any) -> None:
    spoilt = copy.deepcopy(YANDEX)
    spoilt["session"]["audio"][place][name] = value
    with pytest.raises(Refused):
        refuse("yandex", spoilt)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output_modalities", ["video"]),
        ("tools", [{"type": "mcp", "server_label": "home", "server_url": "https://h"}]),
        ("prompt", {"id": "p"}),
    ],
)
def test_what_yandex_refuses_of_the_session(name: str, value: Any) -> None:
    spoilt = copy.deepcopy(YANDEX)
    spoilt["session"][name] = value
    with pytest.raises(Refused):
        refuse("yandex", spoilt)
