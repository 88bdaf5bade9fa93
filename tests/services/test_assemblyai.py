from __future__ import annotations

import base64
import json
import re
from typing import Any

import numpy as np
import pytest

from pipit.core import g711
from pipit.core.options import Secret
from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.services import NEW, Ended, Failed, Line, Opening, Ready, ReplyAudio, ReplyDone, ReplyStarted, ToolCall
from pipit.services.assemblyai import HUSH_S, KEYTERMS, REMEMBERED, AssemblyAI, Settings, build, session_object
from tests.services import replay


def settings(**options: Any) -> Settings:
    return Settings(api_key=Secret(replay.KEY), **options)


def feed(codec: AssemblyAI, **message: Any) -> list[Any]:
    return list(codec.receive(json.dumps(message)))


def ready(**options: Any) -> AssemblyAI:
    codec = AssemblyAI(settings(**options))
    assert feed(codec, type="session.ready", session_id="s_1") == [Ready("s_1", "s_1")]
    return codec


def test_request() -> None:
    request = AssemblyAI(settings()).request()
    assert request.url == "wss://agents.assemblyai.com/v1/ws"
    assert request.headers == {"Authorization": f"Bearer {replay.KEY}"}
    assert AssemblyAI(Settings(url="ws://127.0.0.1:1/v1/ws")).request().headers == {}


def test_nothing_that_is_not_set_is_sent() -> None:
    sound = {"format": {"encoding": "audio/pcm", "sample_rate": 24000}}
    (message,) = AssemblyAI(settings(instructions="Be brief.", greeting="")).hello()
    assert json.loads(message)["session"] == {"system_prompt": "Be brief.", "input": sound, "output": sound}


def test_capabilities() -> None:
    plain = AssemblyAI(settings()).capabilities
    assert (plain.server_turns, plain.interrupt, plain.truncate, plain.resume_s, plain.pace) == (True, False, False, 30.0, 1.5)
    assert AssemblyAI(settings(reply_cancel=True)).capabilities.interrupt is True


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"model": "m"}, "service.model: assemblyai chooses the model itself; leave it null"),
        ({"turn_detection": {"type": "none"}}, "service.turn_detection.type: assemblyai always finds the end of a turn itself"),
        ({"keyterms": ("x",) * (KEYTERMS + 1)}, "service.keyterms: 101 of them, assemblyai takes at most 100"),
        ({"url": "http://h/"}, "service.url: begins with http://"),
    ],
)
def test_build_refuses_what_the_service_does_not_have(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        build(settings(**options))


def test_build_asks_for_a_key() -> None:
    with pytest.raises(ConfigError, match=r"AssemblyAI needs a key; for example `api_key: !credential assemblyai`"):
        build(Settings())


def test_silence_that_ends_a_turn_does_not_last_for_ever() -> None:
    codec = ready()
    codec.end_turn()
    second = b"\x01\x00" * 24000
    sent = [codec.audio(second) for _ in range(int(HUSH_S) + 1)]
    loud = [codec.audio(second) == AssemblyAI(settings()).audio(second)]
    assert [message == sent[0] for message in sent] == [True] * int(HUSH_S) + [False]
    assert loud == [True]


def test_no_sound_is_no_message() -> None:
    assert ready().audio(b"") == ()


def test_an_interruption_ends_the_silence() -> None:
    codec = ready()
    codec.end_turn()
    codec.interrupt(None, 0, by_service=False)
    assert json.loads(codec.audio(b"ab")[0])["audio"] == "YWI="


@pytest.mark.parametrize(
    ("code", "before", "after"),
    [
        ("unauthorized", "config", "config"),
        ("FORBIDDEN", "config", "config"),
        ("agent_not_found", "config", "config"),
        ("invalid_value", "config", "benign"),
        ("immutable_field", "config", "benign"),
        ("invalid_audio", "config", "benign"),
        ("audio_rate_violation", "config", "benign"),
        ("at_capacity", "retryable", "retryable"),
        ("Concurrency_Exceeded", "retryable", "retryable"),
        ("server_error", "retryable", "retryable"),
        ("internal_error", "retryable", "retryable"),
        ("agent_timeout", "retryable", "retryable"),
        ("session_expired", "retryable", "retryable"),
        ("never_seen", "config", "benign"),
    ],
)
def test_errors(code: str, before: str, after: str) -> None:
    (first,) = feed(AssemblyAI(settings()), type="session.error", code=code, message="m")
    (second,) = feed(ready(), type="session.error", code=code, message="m")
    assert (first.kind, second.kind) == (before, after)


def test_an_error_names_the_field() -> None:
    assert feed(ready(), type="session.error", code="immutable_field", message="no", param="output.format") == [
        Failed("benign", "AssemblyAI: no (output.format)")
    ]


@pytest.mark.parametrize("message", [{"message": "m"}, {"error": {"message": "m"}}, {"error": "x", "message": "m"}])
def test_older_shapes_of_an_error(message: dict[str, Any]) -> None:
    assert feed(ready(), type="error", code="c", **message) == [Failed("benign", "AssemblyAI: m")]


def test_the_key_is_cut_out() -> None:
    (event,) = feed(AssemblyAI(settings()), type="session.error", code="unauthorized", message=f"key {replay.KEY}")
    assert event.reason == "AssemblyAI: key …; check service.api_key"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, Ended()),
        (1008, Failed("config", "AssemblyAI refused the session: check service.api_key, then the rest of that section")),
        (1011, Failed("retryable", "AssemblyAI closed the connection: code 1011")),
    ],
)
def test_close_codes(code: int, expected: object) -> None:
    assert ready().closed(code, "") == expected


def test_a_new_reply_ends_one_whose_end_was_never_told() -> None:
    codec = ready()
    feed(codec, type="reply.started", reply_id="r1")
    assert feed(codec, type="reply.started", reply_id="r2") == [ReplyDone("r1"), ReplyStarted("r2")]


def test_a_reply_that_is_silenced_here_still_holds_back_results_until_it_is_done() -> None:
    codec = ready()
    feed(codec, type="reply.started", reply_id="r1")
    assert feed(codec, type="tool.call", call_id="c", name="n") == [ToolCall("c", "n", {}, reply="r1")]
    codec.interrupt("r1", 0, by_service=False)
    assert codec.tool_result("c", "x", is_error=False) == []
    feed(codec, type="reply.done", reply_id="r1", status="completed")
    assert [json.loads(m)["call_id"] for m in codec.to_send()] == ["c"]
    assert codec.to_send() == []


@pytest.mark.parametrize(
    "message",
    [
        "",
        "[]",
        b"\xff",
        '{"type": "session.ready", "session_id": 5}',
        '{"type": "session.ready", "config": {"tools": [{"http": {}, "name": 5}]}}',
        '{"type": "reply.started"}',
        '{"type": "reply.audio", "reply_id": "r", "data": null}',
        '{"type": "reply.audio", "reply_id": "r", "audio": "AAAA"}',
        '{"type": "reply.audio", "reply_id": "r", "data": "AAA"}',
        '{"type": "transcript.user", "text": 5}',
        '{"type": "tool.call", "call_id": "c", "arguments": {}}',
        '{"type": "reply.done", "reply_id": "r", "status": 5}',
    ],
)
def test_malformed_messages_are_counted_and_change_nothing(message: str | bytes) -> None:
    codec = AssemblyAI(settings())
    assert codec.receive(message) == ()
    assert (codec.malformed, codec.unknown) == (1, 0)
    assert feed(codec, type="session.ready", session_id="s_1") == [Ready("s_1", "s_1")]


@pytest.mark.parametrize("arguments", ["{", [1], {"level": float("inf")}])
def test_an_agent_that_writes_broken_arguments_is_told_so(arguments: Any) -> None:
    codec = ready()
    feed(codec, type="reply.started", reply_id="r")
    assert feed(codec, type="tool.call", call_id="c", name="lamp", arguments=arguments) == []
    assert codec.to_send() == [], "not in the middle of a reply"
    feed(codec, type="reply.done", reply_id="r", status="completed")
    told = {"type": "tool.result", "call_id": "c", "result": "the arguments are not the JSON of an object", "is_error": True}
    assert [json.loads(message) for message in codec.to_send()] == [told]
    assert codec.malformed == 1


FILLER = ({"type": "reply.started", "reply_id": "r1"}, {"type": "tool.call", "call_id": "c", "name": "lamp", "arguments": {}})


def test_what_an_agent_says_about_a_tool_is_not_wanted_by_who_silenced_it_while_the_tool_ran() -> None:
    codec = ready()
    for message in FILLER:
        feed(codec, **message)
    codec.interrupt("r1", 300, by_service=False)
    feed(codec, type="reply.done", reply_id="r1", status="completed")
    assert codec.tool_result("c", "{}", is_error=False), "the service waits for it"
    sound = base64.b64encode(bytes(480)).decode()
    assert feed(codec, type="reply.started", reply_id="r2") == [ReplyStarted("r2"), ReplyDone("r2", "cancelled")]
    assert feed(codec, type="reply.audio", reply_id="r2", data=sound) == []
    assert feed(codec, type="reply.done", reply_id="r2", status="completed") == []
    feed(codec, type="input.speech.started")
    assert feed(codec, type="reply.started", reply_id="r3") == [ReplyStarted("r3")]


@pytest.mark.parametrize("how", ["talks already", "has talked since", "Pipit asks"])
def test_what_is_said_after_that_is_wanted(how: str) -> None:
    codec = ready()
    for message in FILLER:
        feed(codec, **message)
    if how == "talks already":
        feed(codec, type="input.speech.started")
    codec.interrupt("r1", 300, by_service=False)
    if how == "has talked since":
        feed(codec, type="transcript.user", text="Never mind.", item_id="u")
    if how == "Pipit asks":
        codec.generate("Say that it is late.")
    feed(codec, type="reply.done", reply_id="r1", status="completed")
    assert feed(codec, type="reply.started", reply_id="r2") == [ReplyStarted("r2")]


def test_a_tool_call_that_comes_twice_is_run_once() -> None:
    codec = ready()
    call = {"type": "tool.call", "call_id": "c", "name": "set_timer", "arguments": {"seconds": 60}}
    assert feed(codec, **call) == [ToolCall("c", "set_timer", {"seconds": 60})]
    assert feed(codec, **call) == []
    assert len(codec.tool_result("c", "{}", is_error=False)) == 1
    assert feed(codec, **call) == [], "nor after it was answered"
    assert codec.tool_result("c", "{}", is_error=False) == ()


def test_late_sound_of_a_stopped_reply_is_dropped_however_many_came_since() -> None:
    codec = ready()
    piece = {"type": "reply.audio", "reply_id": "old", "data": "AAAA"}
    feed(codec, **piece)
    codec.interrupt("old", 5, by_service=False)
    for n in range(2 * REMEMBERED):
        feed(codec, type="reply.started", reply_id=f"r{n}")
    assert feed(codec, **piece) == []
    assert feed(codec, type="reply.done", reply_id="old", status="completed") == []
    assert feed(codec, type="reply.audio", reply_id="r63", data="AAAA") == [ReplyAudio("r63", bytes(3))]


def test_unknown_messages_are_counted_apart() -> None:
    codec = ready()
    assert feed(codec, type="weather.report") == []
    assert (codec.malformed, codec.unknown) == (0, 1)


def test_memory_stays_bounded() -> None:
    codec = ready()
    for n in range(3 * REMEMBERED):
        feed(codec, type="reply.started", reply_id=f"r{n}")
    assert len(codec._replies) == REMEMBERED


# -- the rest of the session object, other formats, tokens, taking a session up again --------------------------------------------


def configured(opening: Opening = NEW, **options: Any) -> dict[str, Any]:
    session: dict[str, Any] = json.loads(AssemblyAI(settings(**options), opening).hello()[0])["session"]
    return session


def test_the_whole_session_object() -> None:
    extra = {"input": {"transcription_mode": "min_latency"}, "output": {"volume": 80}}
    tool = Declaration("lamp", "Switches the lamp.")
    session = configured(
        Opening(tools=(tool,)),
        instructions="Be brief.",
        greeting="Kitchen here.",
        voice="estelle",
        keyterms=("Hue",),
        turn_detection={"vad_threshold": 0.6},
        extra=extra,
    )
    pcm = {"encoding": "audio/pcm", "sample_rate": 24000}
    assert session == {
        "system_prompt": "Be brief.",
        "greeting": "Kitchen here.",
        "tools": [{"type": "function", "name": "lamp", "description": "Switches the lamp.", "parameters": tool.parameters}],
        "input": {
            "format": pcm,
            "keyterms": ["Hue"],
            "turn_detection": {"vad_threshold": 0.6},
            "transcription_mode": "min_latency",
        },
        "output": {"format": pcm, "voice": "estelle", "volume": 80},
    }


@pytest.mark.parametrize(
    ("code", "message", "without"),
    [
        ("invalid_value", "Voice 'ivy' is not known.", "voice"),
        ("unauthorized", "Invalid API key for Voice Agent API", ""),
        ("at_capacity", "Voice agent capacity reached, try later", ""),
    ],
)
def test_the_voice_is_not_blamed_for_other_errors(code: str, message: str, without: str) -> None:
    codec = AssemblyAI(settings(voice="ivy"))
    (failed,) = feed(codec, type="session.error", code=code, message=message)
    assert failed.without == without
    assert ("no voice 'ivy'" in failed.reason) == bool(without)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"encoding": "audio/pcmu"}, "service.encoding"),
        ({"greeting": "Hello."}, "service.greeting"),
        ({"instructions": "Be brief."}, "service.instructions"),
        ({"keyterms": ("Hue",)}, "service.keyterms"),
        ({"pronunciation": {"SQL": "sequel"}}, "service.pronunciation"),
        ({"turn_detection": {"vad_threshold": 0.6}}, "service.turn_detection"),
        ({"voice": "eve"}, "service.voice"),
        ({"extra": {"agent_id": "a_1", "output": {"volume": 80}}}, "service.extra.output"),
    ],
)
def test_what_a_stored_agent_would_not_hear_of_is_refused(options: dict[str, Any], field: str) -> None:
    stored = {"extra": {"agent_id": "a_1"}}
    build(settings(**stored))
    with pytest.raises(ConfigError, match=rf"^{field}: a stored agent \(service.extra.agent_id\) has its own; leave this out$"):
        build(settings(**stored | options))


def test_a_stored_agent_is_the_only_field() -> None:
    assert configured(Opening(tools=(Declaration("lamp", ""),)), extra={"agent_id": "a_1"}, voice="eve") == {"agent_id": "a_1"}


@pytest.mark.parametrize("encoding", ["audio/pcmu", "audio/pcma"])
def test_sound_as_telephones_carry_it(encoding: str) -> None:
    codec = ready(encoding=encoding)
    law = encoding.removeprefix("audio/")
    session = configured(encoding=encoding)
    assert session["input"]["format"] == session["output"]["format"] == {"encoding": encoding, "sample_rate": 8000}
    assert codec.input_rate_hz == codec.output_rate_hz == 8000
    pcm = np.array([0, 1000, -20000, 32767], "<i2").tobytes()
    (message,) = codec.audio(pcm)
    data = base64.b64decode(json.loads(message)["audio"])
    assert data == g711.encode(pcm, law)
    (_, event) = feed(codec, type="reply.audio", reply_id="r", data=base64.b64encode(data).decode())
    assert event == ReplyAudio("r", g711.decode(data, law))


def test_a_session_is_taken_up_again_by_its_name() -> None:
    codec = AssemblyAI(settings(), Opening(resume="s_1"))
    assert [json.loads(message) for message in codec.hello()] == [{"type": "session.resume", "session_id": "s_1"}]
    assert codec.capabilities.resume_s == 30


def test_what_was_said_goes_into_the_prompt_and_nobody_is_greeted_twice() -> None:
    history = (Line(False, "Is it raining?"), Line(True, "Not yet."))
    session = configured(Opening(history=history, greet=False), instructions="Be brief.", greeting="Hello.")
    assert session["system_prompt"].startswith("Be brief.\n")
    assert session["system_prompt"].endswith("User: Is it raining?\nYou: Not yet.")
    assert "greeting" not in session


@pytest.mark.parametrize(
    ("param", "options", "without"),
    [
        ("session.output.voice", {"voice": "ivy"}, "voice"),
        ("session.input.keyterms", {"keyterms": ("Hue",)}, "keyterms"),
        ("session.input.turn_detection.vad_threshold", {"turn_detection": {"vad_threshold": 7}}, "turn_detection"),
        ("session.output.voice", {}, ""),
        ("session.tools[0].name", {}, ""),
        ("session.greeting", {"greeting": "Hi"}, ""),
    ],
)
def test_a_refused_setting_is_named_and_can_be_left_out(param: str, options: dict[str, Any], without: str) -> None:
    codec = AssemblyAI(settings(**options))
    codec.hello()
    (failed,) = feed(codec, type="session.error", code="invalid_value", message="Unknown value.", param=param)
    assert (failed.kind, failed.without) == ("config", without)
    if without:
        assert configured(Opening(without=frozenset({without})), **options) == configured()


def test_refused_tools_are_named_and_can_be_left_out() -> None:
    tools = (Declaration("lamp", "Switches the lamp."),)
    codec = AssemblyAI(settings(), Opening(tools=tools))
    (failed,) = feed(codec, type="session.error", code="invalid_value", message="Unknown value.", param="session.tools[0].name")
    assert (failed.kind, failed.without) == ("config", "tools")
    assert configured(Opening(tools=tools, without=frozenset({"tools"}))) == configured()


@pytest.mark.parametrize("code", ["session_not_found", "SESSION_FORBIDDEN", "session_expired"])
def test_a_refused_resumption_is_not_asked_for_again(code: str) -> None:
    (refused,) = feed(AssemblyAI(settings(), Opening(resume="s_1")), type="session.error", code=code, message="No.")
    assert refused == Failed("fatal", "AssemblyAI: No.")
    again = AssemblyAI(settings(), Opening(resume="s_1"))
    feed(again, type="session.ready", session_id="s_1")
    assert feed(again, type="session.error", code=code, message="No.") == [Failed("retryable", "AssemblyAI: No.")]


def test_results_of_tools_at_once_where_the_owner_wants_it() -> None:
    codec = ready(tool_results="at_once")
    feed(codec, type="reply.started", reply_id="r")
    feed(codec, type="tool.call", call_id="c", name="lamp", arguments={})
    assert json.loads(codec.tool_result("c", "{}", is_error=False)[0])["call_id"] == "c"


def test_a_temporary_token_in_place_of_the_key() -> None:
    request = AssemblyAI(settings(token_url="https://h/token")).request()
    assert (request.url, request.headers) == ("wss://agents.assemblyai.com/v1/ws?token={token}", {})
    assert request.token is not None
    assert (request.token.url, request.token.headers) == ("https://h/token", {"Authorization": f"Bearer {replay.KEY}"})


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("h/token", "service.token_url: this is no address; it must look like https://HOST/PATH"),
        ("http://h/token", "service.token_url: http:// sends key and token unencrypted to h; use https://"),
    ],
)
def test_bad_addresses_of_tokens(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(problem)):
        build(settings(token_url=url))


def test_with_tokens_from_elsewhere_no_key_is_needed() -> None:
    assert build(Settings(token_url="http://127.0.0.1:1/token"))().input_rate_hz == 24000


def test_how_words_are_said_is_asked_for() -> None:
    given = Settings(api_key=Secret("k"), instructions="Be brief.", pronunciation={"SQL": "sequel"})
    assert session_object(given)["system_prompt"].startswith("Be brief.\nWhen you say these words aloud")
    told = session_object(given, Opening(history=(Line(False, "Hello."),)))["system_prompt"]
    assert "“SQL” as “sequel”" in told
    assert told.endswith("User: Hello.")
