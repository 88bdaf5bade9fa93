from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import pytest

from pipit.core.options import Secret
from pipit.errors import ConfigError
from pipit.services import Ended, Failed, ReplyAudio, ReplyDone, ReplyStarted, ToolCall, UserText
from pipit.services.openai_presets import OPENAI, Preset, session_object
from pipit.services.openai_realtime import REMEMBERED, OpenAIRealtime, Settings, build
from tests.services import replay

MS = bytes(48)
"""One millisecond of sound."""


CALL = {"type": "function_call", "call_id": "c", "name": "lamp", "arguments": "{}"}


def settings(**options: Any) -> Settings:
    return Settings(api_key=Secret(replay.KEY), **options)


def ready(**options: Any) -> OpenAIRealtime:
    codec = OpenAIRealtime(settings(**options))
    feed(codec, type="session.updated", session={"id": "sess_1"})
    codec.to_send()
    return codec


def feed(codec: OpenAIRealtime, **message: Any) -> list[Any]:
    return list(codec.receive(json.dumps(message)))


def audio(codec: OpenAIRealtime, ms: int, *, reply: str = "resp_1", item: str = "item_1", index: int = 0) -> list[Any]:
    delta = base64.b64encode(MS * ms).decode()
    return feed(codec, type="response.output_audio.delta", response_id=reply, item_id=item, content_index=index, delta=delta)


def done(codec: OpenAIRealtime, reply: str = "resp_1", status: str = "completed") -> list[Any]:
    return feed(codec, type="response.done", response={"id": reply, "status": status})


def messages(sent: Any) -> list[dict[str, Any]]:
    found = [json.loads(message) for message in sent]
    for message in found:
        message.pop("event_id", None)
    return found


# -- the request and the session object --------------------------------------------------------------------------------------------


def test_request_names_the_model_and_carries_the_key() -> None:
    request = OpenAIRealtime(settings(model="my model/2")).request()
    assert request.url == "wss://api.openai.com/v1/realtime?model=my%20model%2F2"
    assert request.headers == {"Authorization": f"Bearer {replay.KEY}"}


@pytest.mark.parametrize(
    ("url", "model", "expected"),
    [
        ("ws://127.0.0.1:1/v1/realtime", None, "ws://127.0.0.1:1/v1/realtime"),
        ("ws://127.0.0.1:1/v1/realtime", "m", "ws://127.0.0.1:1/v1/realtime?model=m"),
        ("ws://127.0.0.1:1/v1/realtime?a=b", "m", "ws://127.0.0.1:1/v1/realtime?a=b&model=m"),
        ("ws://127.0.0.1:1/v1/realtime?model=x", "m", "ws://127.0.0.1:1/v1/realtime?model=x"),
    ],
)
def test_request_with_the_owners_url(url: str, model: str | None, expected: str) -> None:
    request = OpenAIRealtime(Settings(url=url, model=model)).request()
    assert request.url == expected
    assert request.headers == {}


@pytest.mark.parametrize(
    ("given", "sent", "server_turns", "speech_interrupts"),
    [
        ({}, None, True, True),
        ({"type": "none"}, {"turn_detection": None}, False, False),
        ({"type": None}, {"turn_detection": None}, False, False),
        ({"type": "server_vad", "threshold": 0.7}, {"turn_detection": {"type": "server_vad", "threshold": 0.7}}, True, True),
        (
            {"type": "semantic_vad", "interrupt_response": False},
            {"turn_detection": {"type": "semantic_vad", "interrupt_response": False}},
            True,
            False,
        ),
    ],
)
def test_turn_detection_is_passed_on_and_decides_capabilities(
    given: dict[str, Any], sent: dict[str, Any] | None, server_turns: bool, speech_interrupts: bool
) -> None:
    codec = OpenAIRealtime(settings(turn_detection=given))
    hears = json.loads(codec.hello()[0])["session"]["audio"]["input"]
    assert ("turn_detection" in hears) == (sent is not None)
    assert sent is None or hears["turn_detection"] == sent["turn_detection"]
    assert codec.capabilities.server_turns is server_turns
    assert codec.capabilities.speech_interrupts is speech_interrupts


def test_extra_is_merged_deeply_last_and_also_decides_capabilities() -> None:
    audio = {"input": {"transcription": None, "turn_detection": None}, "output": {"speed": 1.2}}
    extra = {"audio": audio, "max_output_tokens": 500}
    codec = OpenAIRealtime(settings(voice="marin", extra=extra))
    session = json.loads(codec.hello()[0])["session"]
    assert session["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin", "speed": 1.2}
    assert session["audio"]["input"]["transcription"] is None
    assert session["max_output_tokens"] == 500
    assert codec.capabilities.server_turns is False


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini-transcribe", {"prompt": "Expect these words: Sonos, Hue."}),
        ("whisper-1", {"prompt": "Sonos, Hue"}),
        ("gpt-live-transcribe", {"keywords": ["Sonos", "Hue"]}),
        ("gpt-realtime-whisper", {}),
    ],
)
def test_keyterms_reach_the_agent_and_the_transcription(model: str, expected: dict[str, Any]) -> None:
    extra = {"audio": {"input": {"transcription": {"model": model}}}}
    session = session_object(settings(keyterms=("Sonos", "Hue"), extra=extra, instructions="Be brief."), OPENAI)
    assert session["audio"]["input"]["transcription"] == {"model": model, **expected}
    assert session["instructions"] == "Be brief.\nNames and words that you may hear: Sonos, Hue."


def test_the_owners_transcription_prompt_wins_over_keyterms() -> None:
    extra = {"audio": {"input": {"transcription": {"prompt": "cooking"}}}}
    session = session_object(settings(keyterms=("Sonos",), extra=extra), OPENAI)
    assert session["audio"]["input"]["transcription"] == {"model": "gpt-4o-mini-transcribe", "prompt": "cooking"}


BETA = Preset(title="Old", url="ws://h/?model={model}", model="m", dialect="beta", transcription={"model": "whisper-1"})
TOP = Preset(title="Top", url="ws://h/?model={model}", model="m", at_top=True, output_rate_hz=44100, extra_session={"a": 1, "b": 1})


def test_beta_dialect() -> None:
    given = Settings(voice="alloy", instructions="Be brief.", turn_detection={"type": "none"}, keyterms=("Hue",))
    assert session_object(given, BETA) == {
        "instructions": "Be brief.\nNames and words that you may hear: Hue.",
        "modalities": ["audio", "text"],
        "input_audio_format": "pcm16",
        "output_audio_format": "pcm16",
        "input_audio_transcription": {"model": "whisper-1", "prompt": "Hue"},
        "voice": "alloy",
        "turn_detection": None,
    }
    assert OpenAIRealtime(given, BETA).capabilities.server_turns is False


def test_presets_without_transcription_do_not_mention_it() -> None:
    plain = Preset(title="T", url="ws://h", model="m")
    assert "transcription" not in session_object(Settings(), plain)["audio"]["input"]
    assert "input_audio_transcription" not in session_object(Settings(), dataclasses.replace(plain, dialect="beta"))


def test_voice_and_turn_detection_at_the_top() -> None:
    given = Settings(voice="ara", turn_detection={"type": "none"}, extra={"b": 2})
    session = session_object(given, TOP)
    assert (session["voice"], session["turn_detection"], session["a"], session["b"]) == ("ara", None, 1, 2)
    assert session["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 44100}}
    codec = OpenAIRealtime(given, TOP)
    assert (codec.output_rate_hz, codec.capabilities.server_turns) == (44100, False)


def test_a_service_that_answers_only_when_asked_is_asked_when_the_turn_is_over() -> None:
    codec = ready(turn_detection={"type": "server_vad", "create_response": False})
    assert feed(codec, type="input_audio_buffer.committed", item_id="i") == []
    assert messages(codec.to_send()) == [{"type": "response.create"}]


# -- building ----------------------------------------------------------------------------------------------------------------------


def test_build_asks_for_a_key() -> None:
    with pytest.raises(ConfigError, match=r"service.api_key: OpenAI needs a key; for example `api_key: !credential openai`"):
        build(Settings())


def test_build_makes_a_new_session_each_time() -> None:
    make = build(Settings(url="ws://[::1]:1/v1/realtime"))
    first, second = make(), make()
    assert first is not second
    assert (first.input_rate_hz, first.output_rate_hz, first.capabilities.truncate) == (24000, 24000, True)


# -- how much was heard ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard_ms", "expected"),
    [
        (0, [("delete", "item_1"), ("delete", "item_2")]),
        (60, [("truncate", "item_1", 60), ("delete", "item_2")]),
        (100, [("delete", "item_2")]),
        (130, [("truncate", "item_2", 30)]),
        (150, []),
        (9999, []),
    ],
)
def test_interrupting_a_finished_reply_takes_back_what_was_not_heard(heard_ms: int, expected: list[Any]) -> None:
    codec = ready()
    audio(codec, 40)
    audio(codec, 60)
    audio(codec, 50, item="item_2", index=1)
    done(codec)
    sent = messages(codec.interrupt("resp_1", heard_ms, by_service=False))
    shown = [tuple(m[k] for k in ("item_id", "audio_end_ms") if k in m) for m in sent]
    assert [(m["type"].removeprefix("conversation.item."), *s) for m, s in zip(sent, shown, strict=True)] == expected


def test_a_running_reply_is_truncated_at_what_arrived_even_if_all_was_heard() -> None:
    codec = ready()
    audio(codec, 40)
    sent = messages(codec.interrupt("resp_1", 40, by_service=True))
    assert sent == [{"type": "conversation.item.truncate", "item_id": "item_1", "content_index": 0, "audio_end_ms": 40}]


@pytest.mark.parametrize(
    ("heard_ms", "expected"),
    [
        (0, [("delete", "item_1")]),
        (30, [("truncate", "item_1", 0, 30), ("truncate", "item_1", 1, 0)]),
        (50, [("truncate", "item_1", 1, 0)]),
        (60, [("truncate", "item_1", 1, 10)]),
        (100, []),
    ],
)
def test_what_was_heard_of_an_item_is_kept_when_another_part_of_it_was_not(heard_ms: int, expected: list[Any]) -> None:
    codec = ready()
    audio(codec, 50)
    audio(codec, 50, index=1)
    done(codec)
    sent = messages(codec.interrupt("resp_1", heard_ms, by_service=False))
    fields = ("item_id", "content_index", "audio_end_ms")
    assert [(m["type"].removeprefix("conversation.item."), *(m[k] for k in fields if k in m)) for m in sent] == expected


def test_late_sound_of_a_stopped_reply_is_dropped_however_many_came_since() -> None:
    codec = ready()
    audio(codec, 10, reply="old")
    codec.interrupt("old", 5, by_service=False)
    for n in range(2 * REMEMBERED):
        audio(codec, 10, reply=f"r{n}")
        done(codec, f"r{n}")
    assert audio(codec, 10, reply="old") == []
    assert feed(codec, type="response.output_item.done", response_id="old", item=CALL) == []
    assert done(codec, "old") == []


def test_a_preset_without_truncation_is_only_told_to_cancel() -> None:
    codec = OpenAIRealtime(settings(), Preset(title="T", url="ws://h", model="m", truncate=False))
    audio(codec, 40)
    assert messages(codec.interrupt(None, 20, by_service=False)) == [{"type": "response.cancel", "response_id": "resp_1"}]
    assert codec.capabilities.truncate is False


def test_interrupting_an_unknown_reply_does_nothing() -> None:
    assert ready().interrupt("resp_9", 10, by_service=False) == ()


# -- understanding -----------------------------------------------------------------------------------------------------------------


def test_an_odd_byte_is_passed_on() -> None:
    codec = ready()
    events = feed(codec, type="response.output_audio.delta", response_id="r", item_id="i", delta=base64.b64encode(b"abc").decode())
    assert events == [ReplyStarted("r"), ReplyAudio("r", b"abc")]


def test_a_piece_without_a_reply_id_belongs_to_the_running_reply() -> None:
    codec = ready()
    feed(codec, type="response.created", response={"id": "r"})
    assert feed(codec, type="response.audio.delta", delta="AAA=") == [ReplyAudio("r", b"\0\0")]


def test_speech_does_not_interrupt_where_the_owner_forbade_it() -> None:
    codec = ready(turn_detection={"type": "server_vad", "interrupt_response": False})
    audio(codec, 10)
    assert [type(e).__name__ for e in feed(codec, type="input_audio_buffer.speech_started")] == ["UserStarted"]
    assert audio(codec, 10) == [ReplyAudio("resp_1", MS * 10)]


def test_a_turn_that_the_service_answers_by_itself_is_not_asked_for_again() -> None:
    codec = ready()
    codec.end_turn()
    asked = f"pipit_{codec._sent}"
    busy = "conversation_already_has_active_response"
    assert feed(codec, type="error", error={"type": "invalid_request_error", "code": busy, "message": "m", "event_id": asked}) == []
    feed(codec, type="response.created", response={"id": "r"})
    done(codec, "r")
    assert codec.to_send() == []


def test_a_failed_transcription_is_recorded_and_nothing_else() -> None:
    codec = ready()
    feed(codec, type="conversation.item.input_audio_transcription.delta", item_id="i", delta="he")
    failed = feed(codec, type="conversation.item.input_audio_transcription.failed", item_id="i", error={"message": "no"})
    assert failed == [Failed("benign", "OpenAI could not write down what was said: no")]
    later = feed(codec, type="conversation.item.input_audio_transcription.delta", item_id="i", delta="x")
    assert later == [UserText("x", final=False, item="i")]


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[]",
        "{",
        '"text"',
        "12",
        b"\xff\xfe\x00",
        b"\x00" * 100,
        "[" * 100_000,
        '{"type": ' + "9" * 5000 + "}",
        '{"type": null}',
        '{"type": "response.output_audio.delta", "response_id": "r"}',
        '{"type": "response.output_audio.delta", "response_id": "r", "delta": 5}',
        '{"type": "response.output_audio.delta", "response_id": "r", "delta": "AAA"}',
        '{"type": "response.output_audio.delta", "response_id": "r", "delta": "A*A="}',
        '{"type": "response.output_audio.delta", "response_id": "r", "delta": "Ä"}',
        '{"type": "response.output_audio.delta", "response_id": 7, "delta": "AAA="}',
        '{"type": "response.output_audio.delta", "delta": "AAA="}',
        '{"type": "response.output_audio.delta", "response_id": "r", "content_index": true, "delta": "AAA="}',
        '{"type": "response.created"}',
        '{"type": "response.created", "response": []}',
        '{"type": "response.done", "response": {"id": "r", "output": 5}}',
        '{"type": "response.output_item.done", "response_id": "r", "item": {"type": "function_call"}}',
        '{"type": "error"}',
        '{"type": "error", "error": "text"}',
    ],
)
def test_malformed_messages_are_counted(message: str | bytes) -> None:
    codec = ready()
    assert codec.receive(message) == ()
    assert (codec.malformed, codec.unknown) == (1, 0)


def test_unknown_messages_are_counted_apart() -> None:
    codec = ready()
    assert feed(codec, type="response.interpretive_dance.delta") == []
    assert (codec.malformed, codec.unknown) == (0, 1)


def silence(codec: OpenAIRealtime, event_id: str | None) -> list[Any]:
    delta = base64.b64encode(MS).decode()
    return feed(codec, type="response.output_audio.delta", event_id=event_id, response_id="r", item_id="i", delta=delta)


def test_a_message_that_is_sent_twice_is_heard_once() -> None:
    codec = ready()
    feed(codec, type="response.created", event_id="e1", response={"id": "r"})
    assert silence(codec, "e2") == [ReplyAudio("r", MS)]
    assert silence(codec, "e2") == []
    assert silence(codec, "e3") == [ReplyAudio("r", MS)]


@pytest.mark.parametrize("event_id", [None, "", "event_TODO"])
def test_silence_that_looks_like_the_silence_before_is_heard_at_a_server_whose_ids_tell_nothing(event_id: str | None) -> None:
    codec = ready()
    feed(codec, type="response.created", event_id=event_id, response={"id": "r"})
    for _ in range(3):
        assert silence(codec, event_id) == [ReplyAudio("r", MS)]


def test_half_a_surrogate_pair_can_be_printed() -> None:
    (_, event) = ready().receive('{"type": "response.text.delta", "response_id": "r", "delta": "\\ud800"}')
    assert event.text == "?"  # type: ignore[attr-defined]


def test_memory_stays_bounded() -> None:
    codec = ready()
    for n in range(5 * REMEMBERED):
        feed(codec, type="response.created", response={"id": f"r{n}"})
        feed(codec, type="conversation.item.input_audio_transcription.delta", item_id=f"i{n}", delta="x")
    assert len(codec._replies) == len(codec._heard) == REMEMBERED


@pytest.mark.parametrize("arguments", ['{"level":', "[1]", '{"level": NaN}', 5])
def test_an_agent_that_writes_broken_arguments_is_told_so(arguments: Any) -> None:
    codec = ready()
    item = CALL | {"arguments": arguments}
    assert feed(codec, type="response.output_item.done", response_id="r", item=item) == [ReplyStarted("r")]
    assert codec.to_send() == []
    assert feed(codec, type="response.done", response={"id": "r", "output": [item]}) == [ReplyDone("r")]
    told, asked = messages(codec.to_send())
    assert told["item"]["call_id"] == "c"
    assert told["item"]["output"] == "Error: the arguments are not the JSON of an object"
    assert asked == {"type": "response.create"}
    assert codec.malformed == 1


def test_a_tool_that_a_stopped_reply_still_asks_for_is_not_run() -> None:
    codec = ready()
    audio(codec, 40, reply="r")
    codec.interrupt("r", 20, by_service=False)
    assert feed(codec, type="response.output_item.done", response_id="r", item=CALL) == []
    assert done(codec, "r", "cancelled") == [ReplyDone("r", "cancelled")]
    assert codec.to_send() == []


def test_the_end_of_a_reply_counts_more_than_a_broken_tool_call_in_it() -> None:
    codec = ready()
    output = [{"type": "function_call", "call_id": 5}, {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}]
    events = feed(codec, type="response.done", response={"id": "r", "status": "completed", "output": output})
    assert events == [ReplyStarted("r"), ToolCall("c", "n", {}, reply="r"), ReplyDone("r")]


# -- errors ------------------------------------------------------------------------------------------------------------------------


def error(codec: OpenAIRealtime, code: str | None, message: str = "m", **more: Any) -> list[Any]:
    return feed(codec, type="error", error={"type": "invalid_request_error", "code": code, "message": message, **more})


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("insufficient_quota", "fatal"),
        ("account_deactivated", "fatal"),
        ("billing_hard_limit_reached", "fatal"),
        ("invalid_api_key", "config"),
        ("session_expired", "retryable"),
        ("something_else", "benign"),
        ("rate_limit_exceeded", "benign"),
        (None, "benign"),
    ],
)
def test_errors_of_a_session_at_rest(code: str | None, kind: str) -> None:
    assert error(ready(), code) == [Failed(kind, "OpenAI: m")]


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "server_error"])
def test_errors_while_somebody_waits_for_a_reply(code: str) -> None:
    codec = ready()
    codec.generate("x")
    assert error(codec, code) == [Failed("retryable", "OpenAI: m")]


@pytest.mark.parametrize(("code", "kind"), [("server_error", "retryable"), ("unknown_parameter", "config"), (None, "config")])
def test_errors_before_the_session_is_ready(code: str | None, kind: str) -> None:
    assert error(OpenAIRealtime(settings()), code) == [Failed(kind, "OpenAI: m")]


@pytest.mark.parametrize(
    ("code", "message", "event_id"),
    [
        ("response_cancel_not_active", "m", None),
        ("input_audio_buffer_commit_empty", "m", None),
        ("item_truncate_invalid_item_id", "m", None),
        ("item_delete_invalid_item_id", "m", None),
        (None, "Cancellation failed: no active response found", None),
        ("invalid_value", "Audio content of 2ms is already shorter than 3ms", "courtesy_3"),
    ],
)
def test_harmless_errors_are_ignored(code: str | None, message: str, event_id: str | None) -> None:
    assert error(ready(), code, message, event_id=event_id) == []


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, Ended("bye")),
        (1001, Failed("retryable", "OpenAI is going away, restarting or overloaded: code 1001 (bye)")),
        (1008, Failed("config", "OpenAI refused the session (bye): check service.api_key, then the rest of that section")),
        (1011, Failed("retryable", "OpenAI closed the connection: code 1011 (bye)")),
        (3000, Failed("config", "OpenAI refused the session (bye): check service.api_key, then the rest of that section")),
        (4000, Failed("fatal", "OpenAI refused the protocol: bye")),
        (1009, Failed("fatal", "OpenAI does not understand what Pipit sends: code 1009 (bye)")),
    ],
)
def test_close_codes(code: int, expected: object) -> None:
    assert ready().closed(code, "bye") == expected


def test_the_services_words_are_repeated_without_the_key_on_one_short_line() -> None:
    codec = ready()
    (event,) = error(codec, None, f"Key {replay.KEY}\r\n\x1b[31mis\u2028bad " + "x" * 1000)
    assert replay.KEY not in event.reason
    assert event.reason.startswith("OpenAI: Key … [31mis bad xxx")
    assert event.reason.isprintable()
    assert len(event.reason) < 320
    assert replay.KEY not in codec.closed(1008, replay.KEY).reason  # type: ignore[attr-defined]
    assert replay.KEY not in repr(codec) + repr(codec.request()) + repr(settings())


# -- whose turn it is --------------------------------------------------------------------------------------------------------------


def called(**options: Any) -> OpenAIRealtime:
    """Return a codec whose agent has called a tool and waits for the answer."""
    codec = ready(**options)
    feed(codec, type="response.output_item.done", response_id="r", item=CALL)
    done(codec, "r")
    return codec


def kinds(sent: Any) -> list[str]:
    return [message["type"] for message in messages(sent)]


def test_the_answer_of_a_tool_starts_no_reply_while_the_person_talks() -> None:
    codec = called()
    feed(codec, type="input_audio_buffer.speech_started", item_id="u")
    assert kinds(codec.tool_result("c", "{}", is_error=False)) == ["conversation.item.create"]
    feed(codec, type="input_audio_buffer.speech_stopped", item_id="u")
    feed(codec, type="input_audio_buffer.committed", item_id="u")
    feed(codec, type="response.created", response={"id": "auto"})
    done(codec, "auto")
    assert codec.to_send() == [], "the service's own reply knew the answer"


def test_what_was_to_be_said_while_the_person_talks_is_said_after_their_turn() -> None:
    codec = ready()
    feed(codec, type="input_audio_buffer.speech_started", item_id="u")
    assert codec.generate("Say that the tea is ready.") == []
    for kind in ("speech_stopped", "committed"):
        feed(codec, type=f"input_audio_buffer.{kind}", item_id="u")
    done(codec, "auto")
    (asked,) = messages(codec.to_send())
    assert asked["response"]["instructions"].endswith("Say that the tea is ready.")


def test_a_reply_of_the_service_shows_that_the_turn_is_over_even_if_it_has_not_said_so() -> None:
    codec = ready()
    feed(codec, type="input_audio_buffer.speech_started", item_id="u")
    feed(codec, type="response.created", response={"id": "r"})
    feed(codec, type="response.output_item.done", response_id="r", item=CALL)
    assert codec.tool_result("c", "{}", is_error=False) == []
    done(codec, "r")
    assert kinds(codec.to_send()) == ["conversation.item.create", "response.create"]


def test_a_button_ends_a_turn_that_the_service_still_hears() -> None:
    codec = ready()
    feed(codec, type="input_audio_buffer.speech_started", item_id="u")
    assert kinds(codec.end_turn()) == ["input_audio_buffer.commit", "response.create"]


def test_a_turn_that_pipit_ends_before_the_reply_to_the_one_before_has_begun_is_closed_and_answered_as_well() -> None:
    codec = ready(turn_detection={"type": "none"})
    assert [message["type"] for message in messages(codec.end_turn())] == ["input_audio_buffer.commit", "response.create"]
    codec.audio(MS)
    assert [message["type"] for message in messages(codec.end_turn())] == ["input_audio_buffer.commit"]
    feed(codec, type="response.created", response={"id": "resp_1"})
    done(codec)
    assert [message["type"] for message in messages(codec.to_send())] == ["response.create"]


def test_a_reply_that_is_called_off_before_it_has_begun_is_cancelled_as_soon_as_it_does() -> None:
    codec = ready(turn_detection={"type": "none"})
    codec.end_turn()
    assert codec.interrupt(None, 0, by_service=False) == ()
    codec.end_turn()
    assert feed(codec, type="response.created", response={"id": "resp_1"}) == []
    assert messages(codec.to_send()) == [{"type": "response.cancel", "response_id": "resp_1"}]
    assert audio(codec, 10) == []
    assert done(codec, status="cancelled") == []
    assert [message["type"] for message in messages(codec.to_send())] == ["response.create"]
    assert feed(codec, type="response.created", response={"id": "resp_2"}) == [ReplyStarted("resp_2")]


def test_the_answer_of_a_tool_is_not_lost_when_the_service_was_quicker_with_a_reply_of_its_own() -> None:
    codec = called()
    *_, asked = codec.tool_result("c", "{}", is_error=False)
    feed(codec, type="response.created", response={"id": "auto"})
    busy = "conversation_already_has_active_response"
    assert error(codec, busy, event_id=json.loads(asked)["event_id"]) == []
    assert codec.to_send() == []
    done(codec, "auto")
    assert kinds(codec.to_send()) == ["response.create"]


def test_a_refused_request_for_a_reply_is_over_even_where_the_service_does_not_say_which_it_was() -> None:
    codec = ready(turn_detection={"type": "none"})
    asked = codec.end_turn()[-1]
    name = json.loads(asked)["event_id"]
    codec.generate("x")
    assert error(codec, None) == [ReplyStarted(name), ReplyDone(name, "failed", "OpenAI: m")]
    assert kinds(codec.to_send()) == ["response.create"], "what waited for it has its turn"
    assert error(codec, None)[-1].status == "failed"
    assert kinds(codec.end_turn()) == ["input_audio_buffer.commit", "response.create"]


def test_plain_requests_for_a_reply_are_one() -> None:
    codec = ready(turn_detection={"type": "server_vad", "create_response": False})
    feed(codec, type="response.created", response={"id": "r"})
    feed(codec, type="response.output_item.done", response_id="r", item=CALL)
    assert codec.tool_result("c", "{}", is_error=False) == []
    for _ in range(3):
        feed(codec, type="input_audio_buffer.committed", item_id="u")
    done(codec, "r")
    assert kinds(codec.to_send()) == ["conversation.item.create", "response.create"]
    feed(codec, type="response.created", response={"id": "r2"})
    done(codec, "r2")
    assert codec.to_send() == []
