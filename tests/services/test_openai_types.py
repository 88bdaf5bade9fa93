"""Our idea of the protocol against the types of OpenAI's own package."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipit.core.options import Secret
from pipit.core.tool import Declaration
from pipit.services import Line, Opening
from pipit.services.openai_presets import PRESETS
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from tests.services import replay

realtime = pytest.importorskip("openai.types.realtime", reason="the openai package is the judge")
pydantic = pytest.importorskip("pydantic")

CLIENT_EVENT = pydantic.TypeAdapter(realtime.RealtimeClientEvent)
SERVER_EVENT = pydantic.TypeAdapter(realtime.RealtimeServerEvent)
PATHS = [path for path in replay.FILES if path.parent.name == "openai"]
SENT = [(path, message) for path in PATHS for message in replay.replay(replay.codec_for(path), path)]
RECEIVED = [(path, m) for path in PATHS if replay.lines(path)[0].get("names") != "beta" for m in replay.received(path)]


def unknown_fields(value: object, path: str = "") -> list[str]:
    """Return the fields that the vendor's types do not know; they accept any silently."""
    if isinstance(value, pydantic.BaseModel):
        found = [f"{path}.{name}" for name in value.model_extra or {}]
        return found + [f for name in type(value).model_fields for f in unknown_fields(getattr(value, name), f"{path}.{name}")]
    if isinstance(value, list):
        return [f for item in value for f in unknown_fields(item, path + "[]")]
    return []


@pytest.mark.parametrize(("path", "message"), SENT, ids=lambda v: getattr(v, "stem", ""))
def test_what_is_sent_is_valid(path: Any, message: str) -> None:
    event = CLIENT_EVENT.validate_python(json.loads(message), strict=True)
    assert event.type == json.loads(message)["type"]
    assert unknown_fields(event) == []


@pytest.mark.parametrize(
    "options",
    [
        {"turn_detection": {"type": "server_vad", "threshold": 0.5, "create_response": False}},
        {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}, "keyterms": ("Sonos",), "voice": "cedar"},
        {"keyterms": ("Sonos",), "extra": {"audio": {"input": {"transcription": {"model": "gpt-transcribe"}}}}},
    ],
    ids=["server_vad", "semantic_vad", "keywords"],
)
def test_session_objects_are_valid(options: dict[str, Any]) -> None:
    (message,) = OpenAIRealtime(Settings(api_key=Secret(replay.KEY), **options)).hello()
    event = realtime.SessionUpdateEvent.model_validate(json.loads(message), strict=True)
    assert isinstance(event.session, realtime.RealtimeSessionCreateRequest)
    assert unknown_fields(event) == []


@pytest.mark.parametrize("name", ["openai", "azure", "inworld", "localai", "realtime"])
def test_sessions_with_tools_and_a_history_are_valid(name: str) -> None:
    tool = Declaration("lamp", "Switches the lamp.", {"type": "object", "properties": {"on": {"type": "boolean"}}})
    opening = Opening((tool,), (Line(False, "Is it raining?"), Line(True, "Not yet.")), greet=False)
    settings = Settings(api_key=Secret(replay.KEY), voice="marin", model="m")
    messages = [*OpenAIRealtime(settings, PRESETS[name], opening).hello()]
    assert len(messages) == 3
    for message in messages:
        event = CLIENT_EVENT.validate_python(json.loads(message), strict=True)
        assert unknown_fields(event) == []


def test_the_judge_notices_a_wrong_field() -> None:
    session = {"type": "realtime", "audio": {"inputs": 1}}
    event = realtime.SessionUpdateEvent.model_validate({"type": "session.update", "session": session})
    assert unknown_fields(event) == [".session.audio.inputs"]


@pytest.mark.parametrize(("path", "message"), RECEIVED, ids=lambda v: getattr(v, "stem", ""))
def test_what_the_transcripts_receive_is_valid(path: Any, message: dict[str, Any]) -> None:
    event = SERVER_EVENT.validate_python(message)
    assert event.type == message["type"]
    assert [f for f in unknown_fields(event) if not f.startswith((".session", ".response.output"))] == []
