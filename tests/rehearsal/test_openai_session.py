from __future__ import annotations

import copy
from typing import Any

import pytest

from pipit.offline.ear import TurnDetection
from pipit.rehearsal.openai_conversation import Conversation, Spoken, words_of
from pipit.rehearsal.openai_session import CODES, client_events, defaults, turn_detection, updated
from pipit.rehearsal.shapes import Refused

SHAPE = client_events((24000,))
SESSION = defaults("sess_1", "gpt-realtime", 0, 24000)


def update(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime", **fields}}


def sound(**sides: Any) -> dict[str, Any]:
    return update(audio=sides)


@pytest.mark.parametrize(
    "event",
    [
        update(instructions="Be brief.", output_modalities=["audio"], tool_choice="auto", max_output_tokens="inf"),
        sound(
            input={
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": {"type": "far_field"},
                "transcription": {"model": "gpt-4o-mini-transcribe", "language": "en"},
                "turn_detection": {"type": "semantic_vad", "eagerness": "auto", "create_response": True},
            },
            output={"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.0},
        ),
        sound(input={"turn_detection": None, "transcription": None, "noise_reduction": None}),
        sound(output={"voice": {"id": "voice_1"}}),
        update(tools=[{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}]),
        update(tool_choice={"type": "function", "name": "f"}),
        {"type": "input_audio_buffer.commit", "event_id": "c1"},
        {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "{}"}},
        {"type": "response.create", "response": {"instructions": "Hi", "metadata": {"a": "b"}, "conversation": "none"}},
        {"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "item_1"}]}},
    ],
)
def test_what_the_documentation_allows_passes(event: dict[str, Any]) -> None:
    SHAPE(event, "")


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({}, "missing_required_parameter", "type"),
        ({"type": "session.destroy"}, "invalid_value", "type"),
        ({"type": "session.update"}, "missing_required_parameter", "session"),
        ({"type": "session.update", "session": {}}, "missing_required_parameter", "session.type"),
        (update(type="transcription"), "invalid_value", "session.type"),
        (update(temperature=0.8), "unknown_parameter", "session.temperature"),
        # The flat names of the beta:
        (update(modalities=["audio", "text"]), "unknown_parameter", "session.modalities"),
        (update(voice="marin"), "unknown_parameter", "session.voice"),
        (update(input_audio_format="pcm16"), "unknown_parameter", "session.input_audio_format"),
        (update(turn_detection=None), "unknown_parameter", "session.turn_detection"),
        (update(output_modalities=["audio", "text"]), "invalid_value", "session.output_modalities"),
        (sound(output={"voice": "Marin"}), "invalid_value", "session.audio.output.voice"),
        (sound(output={"speed": 2.0}), "invalid_value", "session.audio.output.speed"),
        (sound(input={"format": {"type": "audio/pcm", "rate": 16000}}), "invalid_value", "session.audio.input.format.rate"),
        (sound(input={"format": "pcm16"}), "invalid_type", "session.audio.input.format"),
        (sound(input={"turn_detection": {}}), "missing_required_parameter", "session.audio.input.turn_detection.type"),
        (
            sound(input={"turn_detection": {"type": "server_vad", "threshold": 2}}),
            "invalid_value",
            "session.audio.input.turn_detection.threshold",
        ),
        (
            sound(input={"turn_detection": {"type": "semantic_vad", "threshold": 0.5}}),
            "unknown_parameter",
            "session.audio.input.turn_detection.threshold",
        ),
        (sound(input={"transcription": {"model": "parrot"}}), "invalid_value", "session.audio.input.transcription.model"),
        (update(tools=[{"type": "function", "function": {"name": "f"}}]), "unknown_parameter", "session.tools[0].function"),
        (update(instructions=5), "invalid_type", "session.instructions"),
        ({"type": "input_audio_buffer.append", "audio": "", "format": "pcm"}, "unknown_parameter", "format"),
        ({"type": "conversation.item.truncate", "item_id": "i", "audio_end_ms": 5}, "missing_required_parameter", "content_index"),
        (
            {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 5.5},
            "invalid_type",
            "audio_end_ms",
        ),
        (
            {
                "type": "conversation.item.create",
                "item": {"type": "message", "role": "assistant", "content": [{"type": "output_audio"}]},
            },
            "invalid_value",
            "item.content[0].type",
        ),
        ({"type": "response.create", "response": {"modalities": ["audio"]}}, "unknown_parameter", "response.modalities"),
        ({"type": "response.create", "response": {"metadata": {"a": 1}}}, "invalid_type", "response.metadata.a"),
    ],
)
def test_anything_else_is_refused_by_name(event: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(Refused) as refused:
        SHAPE(event, "")
    assert (CODES[refused.value.problem], refused.value.path) == (code, param)


def test_a_service_may_take_other_rates() -> None:
    client_events((24000, 44100))(sound(output={"format": {"type": "audio/pcm", "rate": 44100}}), "")


def test_what_is_absent_stays_and_the_old_settings_are_not_touched() -> None:
    before = copy.deepcopy(SESSION)
    after = updated(SESSION, {"type": "realtime", "audio": {"output": {"speed": 1.2}}}, sounded=False)
    assert before == SESSION
    expected = copy.deepcopy(SESSION)
    expected["audio"]["output"]["speed"] = 1.2
    assert after == expected


def test_turn_detection_is_changed_in_part_or_replaced_by_another_kind() -> None:
    part = updated(
        SESSION, {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}}}, sounded=False
    )
    assert turn_detection(part) == TurnDetection(0.5, 200, 300)
    other = updated(part, {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}, sounded=False)
    assert other["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }
    none = updated(other, {"audio": {"input": {"turn_detection": None}}}, sounded=False)
    assert turn_detection(none) is None


def test_the_voice_is_locked_once_it_was_heard() -> None:
    patch = {"type": "realtime", "audio": {"output": {"voice": "cedar"}}}
    assert updated(SESSION, patch, sounded=False)["audio"]["output"]["voice"] == "cedar"
    with pytest.raises(Refused) as refused:
        updated(SESSION, patch, sounded=True)
    assert refused.value.code == "cannot_update_voice"
    assert updated(SESSION, {"audio": {"output": {"voice": "marin"}}}, sounded=True) == SESSION


def test_the_model_cannot_change() -> None:
    with pytest.raises(Refused, match="stays"):
        updated(SESSION, {"model": "gpt-audio-mini"}, sounded=False)


def item(name: str) -> dict[str, Any]:
    return {"id": name, "type": "message", "role": "user", "content": [{"type": "input_text", "text": name}]}


def test_items_keep_their_order() -> None:
    conversation = Conversation()
    assert conversation.last_id is None
    assert conversation.add(item("b")) is None
    assert conversation.add(item("d")) == "b"
    assert conversation.add(item("a"), "root") is None
    assert conversation.add(item("c"), "b") == "b"
    assert [conversation.before(name) for name in "abcd"] == [None, "a", "b", "c"]
    conversation.delete("c")
    assert conversation.before("d") == "b"
    assert words_of(conversation.get("d")) == "d"


@pytest.mark.parametrize("method", ["get", "delete"])
def test_an_unknown_item_is_refused(method: str) -> None:
    with pytest.raises(Refused, match="'x' was not found"):
        getattr(Conversation(), method)("x")


def test_an_item_cannot_come_twice_or_after_an_unknown_one() -> None:
    conversation = Conversation()
    conversation.add(item("a"))
    with pytest.raises(Refused, match="already exists"):
        conversation.add(item("a"))
    with pytest.raises(Refused) as refused:
        conversation.add(item("b"), "x")
    assert refused.value.code == "item_create_invalid_previous_item_id"


def said(*sentences: tuple[str, float]) -> Spoken:
    spoken = Spoken()
    for text, seconds in sentences:
        spoken.begin(text)
        spoken.extend(seconds / 2)
        spoken.extend(seconds / 2)
    return spoken


@pytest.mark.parametrize(
    ("end_s", "text"),
    [
        (0.0, ""),
        (0.1, ""),
        (0.5, "One two"),
        (1.0, "One two three four."),
        (1.5, "One two three four. Five"),
        (2.0, "One two three four. Five six."),
    ],
)
def test_truncation_keeps_the_words_that_were_heard(end_s: float, text: str) -> None:
    spoken = said(("One two three four.", 1.0), ("Five six.", 1.0))
    assert spoken.cut(end_s) == text
    assert spoken.length_s == pytest.approx(end_s)
    assert spoken.cut(end_s) == text


def test_what_is_sent_after_a_truncation_does_not_count() -> None:
    spoken = said(("One two.", 1.0))
    spoken.cut(0.0)
    spoken.extend(1.0)
    spoken.begin("Three.")
    spoken.extend(1.0)
    assert spoken.length_s == 0.0


def test_only_spoken_items_are_truncated_and_only_as_far_as_they_go() -> None:
    conversation = Conversation()
    conversation.add(item("user"))
    conversation.add({"id": "agent", "type": "message", "role": "assistant", "content": []})
    spoken = conversation.speaks("agent")
    spoken.begin("One two.")
    spoken.extend(1.0)
    for name, end_ms, code in [
        ("x", 1, "item_truncate_invalid_item_id"),
        ("user", 1, "item_truncate_invalid_item_id"),
        ("agent", 1001, "item_truncate_invalid_audio_end_ms"),
    ]:
        with pytest.raises(Refused) as refused:
            conversation.truncate(name, end_ms)
        assert refused.value.code == code
    conversation.truncate("agent", 500)
    assert conversation.get("agent")["content"] == [{"type": "output_audio", "transcript": "One"}]


def test_an_item_that_was_deleted_while_it_was_made_follows_nothing() -> None:
    conversation = Conversation()
    conversation.add({"id": "a"})
    conversation.add({"id": "b"})
    assert conversation.before("b") == "a"
    conversation.delete("b")
    assert conversation.before("b") is None
