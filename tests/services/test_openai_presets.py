"""Each service that speaks OpenAI's protocol: what it is sent, where its presets differ from OpenAI's."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pipit import services
from pipit.core.options import Secret
from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.services import Failed, Line, Opening, Ready, ReplyDone, ReplyStarted, ReplyText, UserStarted, UserStopped, UserText
from pipit.services.openai_presets import OPTIONAL, PRESETS, heard_field, session_object
from pipit.services.openai_realtime import OpenAIRealtime, Settings, build

KEY = "k-0123456789"
LAMP = Declaration("lamp", "Switches the lamp.", {"type": "object", "properties": {"on": {"type": "boolean"}}})
NEEDED: dict[str, dict[str, str]] = {
    "azure": {"url": "wss://house.openai.azure.com/openai/v1/realtime", "model": "talker"},
    "yandex": {"model": "gpt://folder/speech-realtime-260528"},
    "localai": {"model": "pipeline"},
    "speaches": {"model": "qwen"},
    "realtime": {"url": "ws://127.0.0.1:8137/v1/realtime"},
    "realtime-beta": {"url": "ws://127.0.0.1:8137/v1/realtime"},
}
"""What the owner has to add to a key."""


def codec(name: str, opening: Opening = services.NEW, **options: Any) -> OpenAIRealtime:
    settings = Settings(**{"api_key": Secret(KEY), **NEEDED.get(name, {}), **options})
    return OpenAIRealtime(settings, PRESETS[name], opening)


def sent(messages: Any) -> list[dict[str, Any]]:
    return [{k: v for k, v in json.loads(message).items() if k != "event_id"} for message in messages]


def feed(made: OpenAIRealtime, **message: Any) -> list[services.Event]:
    return list(made.receive(json.dumps(message)))


def configured(made: OpenAIRealtime) -> dict[str, Any]:
    """Return the session object that a service gets, at the moment that it wants it."""
    messages = list(made.hello())
    if not messages:
        feed(made, type="session.created", session={"id": "s"})
        messages = list(made.to_send())
    session: dict[str, Any] = sent(messages)[0]["session"]
    return session


def ready(name: str, opening: Opening = services.NEW, **options: Any) -> OpenAIRealtime:
    made = codec(name, opening, **options)
    configured(made)
    assert feed(made, type="session.updated", session={"id": "s"}) == [Ready("s")]
    return made


# -- all of them -------------------------------------------------------------------------------------------------------------------


def test_every_preset_can_be_chosen() -> None:
    assert [name for name, module in services.NAMES.items() if module == "openai_realtime"] == [*PRESETS]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_becomes_ready_once(name: str) -> None:
    made = ready(name)
    assert feed(made, type="session.updated", session={"id": "s"}) == []  # Yandex says it twice
    assert made.unknown == made.malformed == 0


@pytest.mark.parametrize(
    ("name", "url", "header", "value"),
    [
        ("openai", "wss://api.openai.com/v1/realtime?model=gpt-realtime-2.1", "Authorization", f"Bearer {KEY}"),
        ("azure", "wss://house.openai.azure.com/openai/v1/realtime?model=talker", "api-key", KEY),
        (
            "yandex",
            "wss://ai.api.cloud.yandex.net/v1/realtime?model=gpt%3A%2F%2Ffolder%2Fspeech-realtime-260528",
            "Authorization",
            f"Api-Key {KEY}",
        ),
        ("xai", "wss://api.x.ai/v1/realtime?model=grok-voice-latest", "Authorization", f"Bearer {KEY}"),
        (
            "qwen",
            "wss://dashscope-intl.aliyuncs.com/api-ws/v1/realtime?model=qwen3.5-omni-plus-realtime",
            "Authorization",
            f"Bearer {KEY}",
        ),
        ("localai", "ws://127.0.0.1:8080/v1/realtime?model=pipeline", "Authorization", f"Bearer {KEY}"),
        ("speaches", "ws://127.0.0.1:8000/v1/realtime?model=qwen", "Authorization", f"Bearer {KEY}"),
        ("realtime", "ws://127.0.0.1:8137/v1/realtime", "Authorization", f"Bearer {KEY}"),
    ],
)
def test_request(name: str, url: str, header: str, value: str) -> None:
    request = codec(name).request()
    assert (request.url, dict(request.headers)) == (url, {header: value})


def test_inworld_gets_a_name_for_the_session_and_the_model_inside() -> None:
    one, other = codec("inworld"), codec("inworld")
    assert one.request().url.startswith("wss://api.inworld.ai/api/v1/realtime/session?key=pipit-")
    assert one.request().url == one.request().url != other.request().url
    assert one.request().headers == {"Authorization": f"Basic {KEY}"}
    assert configured(one)["model"] == "openai/gpt-4.1-nano"


@pytest.mark.parametrize(("name", "token"), [("azure", "eyJ0eXAi"), ("yandex", "t1.9euelZ"), ("inworld", "eyJhbGci")])
def test_a_token_in_place_of_a_key_is_sent_as_bearer(name: str, token: str) -> None:
    assert codec(name, api_key=Secret(token)).request().headers == {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("azure", {}, "service.url: Azure OpenAI has no address of its own; write it, like wss://RESOURCE.openai.azure.com"),
        ("azure", {"url": "wss://h/x"}, "service.model: Azure OpenAI needs one: the name of your deployment"),
        ("yandex", {}, "service.model: Yandex AI Studio needs one: gpt://FOLDER/speech-realtime-260528"),
        ("localai", {}, "service.model: LocalAI needs one"),
        ("realtime", {}, "service.url: the server has no address of its own; write it, like ws://127.0.0.1:8137"),
    ],
)
def test_what_the_owner_has_to_say(name: str, options: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Settings(api_key=Secret(KEY), **options), name)  # type: ignore[arg-type]
    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("name", PRESETS)
def test_a_session_can_be_made_of_every_preset(name: str) -> None:
    key = None if not PRESETS[name].key_needed else Secret(KEY)
    session = build(Settings(api_key=key, **NEEDED.get(name, {})), name)()  # type: ignore[arg-type]
    rates = {"qwen": (16000, 24000), "yandex": (24000, 44100)}.get(name, (24000, 24000))
    assert (session.input_rate_hz, session.output_rate_hz) == rates


@pytest.mark.parametrize("name", PRESETS)
def test_tools_in_the_services_own_shape(name: str) -> None:
    (tool,) = configured(codec(name, Opening(tools=(LAMP,))))["tools"]
    function = {"name": "lamp", "description": "Switches the lamp.", "parameters": LAMP.parameters}
    assert tool == ({"type": "function", "function": function} if name == "qwen" else {"type": "function", **function})


def test_the_owners_own_tools_stay_beside_ours() -> None:
    session = configured(codec("xai", Opening(tools=(LAMP,)), extra={"tools": [{"type": "web_search"}]}))
    assert [tool["type"] for tool in session["tools"]] == ["function", "web_search"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_conversation_goes_on_in_a_new_session(name: str) -> None:
    said = (Line(False, "Is it raining?"), Line(True, "Not yet."))
    made = codec(name, Opening(history=said, greet=False), greeting="Hello.")
    messages = list(made.hello())
    if not messages:
        feed(made, type="session.created", session={"id": "s"})
        messages = list(made.to_send())
    kind = "text" if PRESETS[name].dialect == "beta" else "output_text"
    assert [(m["item"]["role"], m["item"]["content"]) for m in sent(messages)[1:]] == [
        ("user", [{"type": "input_text", "text": "Is it raining?"}]),
        ("assistant", [{"type": kind, "text": "Not yet."}]),
    ]
    feed(made, type="session.updated", session={"id": "s"})
    assert made.to_send() == []  # the greeting was said long ago


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_is_refused_can_be_left_out(name: str) -> None:
    given: dict[str, Any] = {"voice": "x", "keyterms": ("Hue",), "turn_detection": {"type": "server_vad"}}
    if name == "replace":
        given["pronunciation"] = {"SQL": "sequel"}
    settings, preset = Settings(**given), PRESETS["xai" if name == "replace" else "openai"]
    whole = session_object(settings, preset, Opening(tools=(LAMP,)))
    reduced = session_object(settings, preset, Opening(tools=(LAMP,), without=frozenset({name})))
    assert whole != reduced
    assert ("tools" in reduced) == (name != "tools")
    reduced.pop("tools", None)
    plain = Settings(**{k: v for k, v in given.items() if k != name})
    if name == "replace":
        assert "replace" not in reduced
        assert "“SQL” as “sequel”" in reduced["instructions"]  # then it is asked for
    elif name != "transcription":
        assert reduced == session_object(plain, preset)


@pytest.mark.parametrize(
    ("param", "without"),
    [
        ("session.audio.output.voice", "voice"),
        ("session.audio.input.transcription.model", "transcription"),
        ("session.audio.input.turn_detection", "turn_detection"),
        ("session.replace", "replace"),
        ("session.tools[0].parameters.properties.voice", "tools"),
        ("session.instructions", ""),
    ],
)
def test_a_refused_setting_is_named(param: str, without: str) -> None:
    made = codec("openai")
    made.hello()
    error = {"type": "invalid_request_error", "code": "invalid_value", "message": "No.", "param": param}
    assert feed(made, type="error", error=error) == [Failed("config", f"OpenAI: No. ({param})", without)]


# -- what is peculiar --------------------------------------------------------------------------------------------------------------


def test_xai_has_voice_and_turn_detection_at_the_top() -> None:
    session = configured(codec("xai", voice="ara", turn_detection={"type": "server_vad"}))
    assert (session["voice"], session["turn_detection"]) == ("ara", {"type": "server_vad"})
    assert session["audio"] == {side: {"format": {"type": "audio/pcm", "rate": 24000}} for side in ("input", "output")}


def test_xai_speaks_a_greeting_word_for_word() -> None:
    made = codec("xai", greeting="Kitchen here.")
    configured(made)
    feed(made, type="session.updated", session={"id": "s"})
    content = [{"type": "output_text", "text": "Kitchen here."}]
    item = {"type": "force_message", "role": "assistant", "content": content}
    assert sent(made.to_send()) == [{"type": "conversation.item.create", "item": item}]


def test_xai_tells_what_it_understood_from_the_beginning_each_time() -> None:
    made = ready("xai")
    kind = "conversation.item.input_audio_transcription.updated"
    assert feed(made, type=kind, item_id="i", transcript="turn on") == [UserText("turn on", False, "i")]
    assert feed(made, type=kind, item_id="i", transcript="turn on the lamp") == [UserText("turn on the lamp", False, "i")]
    assert feed(made, type="ping") == []
    assert made.unknown == 0


def test_qwen_is_sent_nothing_before_it_has_spoken() -> None:
    made = codec("qwen", voice="Cherry")
    assert made.hello() == ()
    feed(made, type="session.created", session={"id": "s"})
    (update,) = sent(made.to_send())
    assert update["session"] == {
        "instructions": "You live in a kitchen speaker. Answer briefly.",
        "modalities": ["text", "audio"],
        "voice": "Cherry",
    }
    feed(made, type="session.created", session={"id": "s"})
    assert made.to_send() == []


def test_a_server_at_home_with_the_older_names() -> None:
    made = ready("realtime-beta")
    feed(made, type="response.created", response={"id": "r"})
    assert feed(made, type="response.audio_transcript.delta", response_id="r", item_id="i", delta="Hi") == [ReplyText("r", "Hi")]


# -- Yandex ------------------------------------------------------------------------------------------------------------------------


def test_yandex_session_is_that_of_its_tutorial() -> None:
    assert configured(codec("yandex")) == {
        "type": "realtime",
        "instructions": "You live in a kitchen speaker. Answer briefly.",
        "output_modalities": ["text", "audio"],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "silence_duration_ms": 200,
                    "create_response": False,
                    "interrupt_response": False,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 44100}, "voice": "marina"},
        },
    }
    assert codec("yandex").capabilities.ping is False
    assert codec("yandex").capabilities.max_session_s == 300


def test_yandex_turn_is_closed_and_answered_by_hand() -> None:
    made = ready("yandex")
    assert feed(made, type="input_audio_buffer.speech_started", item_id="i") == [UserStarted()]
    assert feed(made, type="input_audio_buffer.speech_stopped", item_id="i") == [UserStopped()]
    *silence, commit = sent(made.to_send())
    assert [base64.b64decode(message["audio"]) for message in silence] == [bytes(4800)] * 5
    assert commit == {"type": "input_audio_buffer.commit"}
    feed(made, type="input_audio_buffer.committed", item_id="i")
    assert sent(made.to_send()) == [{"type": "response.create"}]
    feed(made, type="input_audio_buffer.committed", item_id="i")
    assert made.to_send() == [], "one turn, one reply"
    assert feed(made, type="response.created", response={"id": "r"}) == [ReplyStarted("r")]
    assert feed(made, type="response.output_text.delta", response_id="r", delta="Да.") == [ReplyText("r", "Да.")]


def test_yandex_button_ends_a_turn_once() -> None:
    made = ready("yandex")
    *_, commit = sent(made.end_turn())
    assert commit == {"type": "input_audio_buffer.commit"}
    feed(made, type="input_audio_buffer.committed", item_id="i")
    assert sent(made.to_send()) == [{"type": "response.create"}]
    feed(made, type="input_audio_buffer.speech_stopped", item_id="i")
    assert made.to_send() == []


def test_yandex_reply_is_cancelled_when_the_person_speaks() -> None:
    made = ready("yandex")
    assert made.capabilities.speech_interrupts is True
    feed(made, type="response.created", response={"id": "r"})
    assert feed(made, type="input_audio_buffer.speech_started", item_id="i") == [UserStarted(), ReplyDone("r", "interrupted")]
    assert sent(made.to_send()) == [{"type": "response.cancel", "response_id": "r"}]


def turn(made: OpenAIRealtime, *kinds: str) -> list[str]:
    """Let the service say what it hears of the person; return what it is told."""
    told = []
    for kind in kinds:
        feed(made, type=f"input_audio_buffer.{kind}", item_id="u")
        told += [m["type"].removeprefix("input_audio_buffer.") for m in sent(made.to_send()) if "audio" not in m]
    return told


def test_yandex_whoever_goes_on_before_the_reply_begins_is_not_talked_over_and_is_answered() -> None:
    made = ready("yandex")
    assert turn(made, "speech_started", "speech_stopped", "committed") == ["commit", "response.create"]
    assert turn(made, "speech_started") == []
    assert feed(made, type="response.created", response={"id": "r"}) == []
    assert sent(made.to_send()) == [{"type": "response.cancel", "response_id": "r"}]
    assert feed(made, type="response.output_text.delta", response_id="r", delta="Да.") == []
    feed(made, type="response.done", response={"id": "r", "status": "cancelled"})
    assert turn(made, "speech_stopped", "committed") == ["commit", "response.create"]
    assert feed(made, type="response.created", response={"id": "r2"}) == [ReplyStarted("r2")]


def test_yandex_whoever_goes_on_and_has_finished_before_the_reply_begins_is_answered_once() -> None:
    made = ready("yandex")
    turn(made, "speech_started", "speech_stopped", "committed")
    assert turn(made, "speech_started", "speech_stopped", "committed") == ["commit"], "it has been asked for a reply already"
    assert feed(made, type="response.created", response={"id": "r"}) == []
    made.to_send()
    assert feed(made, type="response.done", response={"id": "r", "status": "cancelled"}) == []
    assert sent(made.to_send()) == [{"type": "response.create"}]
    feed(made, type="response.created", response={"id": "r2"})
    feed(made, type="response.done", response={"id": "r2", "status": "completed"})
    assert made.to_send() == []


def test_yandex_whoever_goes_on_before_the_turn_is_closed_is_answered_once() -> None:
    made = ready("yandex")
    assert turn(made, "speech_started", "speech_stopped") == ["commit"]
    assert turn(made, "speech_started", "committed") == [], "nobody is talked over"
    assert turn(made, "speech_stopped", "committed", "committed") == ["commit", "response.create"]
    feed(made, type="response.created", response={"id": "r"})
    feed(made, type="response.done", response={"id": "r", "status": "completed"})
    assert made.to_send() == []


def test_yandex_after_an_error_that_does_not_say_what_it_is_about_the_next_turn_is_answered() -> None:
    made = ready("yandex")
    turn(made, "speech_started", "speech_stopped", "committed")
    started, done = feed(made, type="error", error={"type": "invalid_request_error", "message": "bad"})
    assert done == ReplyDone(started.reply, "failed", "Yandex AI Studio: bad")  # type: ignore[attr-defined]
    assert turn(made, "speech_started", "speech_stopped", "committed") == ["commit", "response.create"]


def test_yandex_button_ends_what_the_person_has_added_before_the_reply_began() -> None:
    made = ready("yandex")
    turn(made, "speech_started", "speech_stopped", "committed", "speech_started")
    assert sent(made.end_turn())[-1] == {"type": "input_audio_buffer.commit"}
    assert turn(made, "committed") == []
    assert feed(made, type="response.created", response={"id": "r"}) == []
    made.to_send()
    assert feed(made, type="response.done", response={"id": "r", "status": "cancelled"}) == []
    assert sent(made.to_send()) == [{"type": "response.create"}]


def test_yandex_an_error_after_the_person_has_gone_on_stops_no_later_reply() -> None:
    made = ready("yandex")
    turn(made, "speech_started", "speech_stopped", "committed", "speech_started")
    feed(made, type="error", error={"type": "invalid_request_error", "message": "bad"})
    assert turn(made, "speech_stopped", "committed") == ["commit", "response.create"]
    assert feed(made, type="response.created", response={"id": "r"}) == [ReplyStarted("r")]


def test_yandex_button_is_not_answered_twice_when_the_service_hears_the_end_later() -> None:
    made = ready("yandex")
    turn(made, "speech_started")
    made.end_turn()
    assert turn(made, "committed") == ["response.create"]
    feed(made, type="response.created", response={"id": "r"})
    assert turn(made, "speech_stopped") == []


def test_yandex_answers_by_itself_where_the_owner_lets_it() -> None:
    made = ready("yandex", turn_detection={"type": "server_vad"})
    feed(made, type="input_audio_buffer.speech_stopped", item_id="i")
    feed(made, type="input_audio_buffer.committed", item_id="i")
    assert made.to_send() == []


@pytest.mark.parametrize("name", [name for name, preset in PRESETS.items() if preset.manual_turns != "unknown"])
def test_turns_are_left_to_pipit_in_the_services_own_words(name: str) -> None:
    made = ready(name, turn_detection={"type": "none"})
    assert made.capabilities.server_turns is False
    asks = [] if name == "localai" else ["response.create"]
    assert [m["type"] for m in sent(made.end_turn())] == ["input_audio_buffer.commit", *asks]
    expected = {"type": None} if name == "xai" else None
    session = configured(codec(name, turn_detection={"type": "none"}))
    assert heard_field(session, PRESETS[name], "turn_detection") == expected


def test_turns_are_not_left_to_pipit_where_nothing_is_known_of_it() -> None:
    settings = Settings(api_key=Secret(KEY), turn_detection={"type": "none"}, **NEEDED["yandex"])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"service.turn_detection.type: Yandex AI Studio finds the end of a turn itself; as far"):
        build(settings, "yandex")
    assert ready("yandex", extra={"audio": {"input": {"turn_detection": None}}}).capabilities.server_turns is False


@pytest.mark.parametrize("name", PRESETS)
def test_how_words_are_said_reaches_every_service(name: str) -> None:
    words = {"nginx": "engine x", "SQL": "sequel"}
    session = session_object(Settings(pronunciation=words, instructions="Be brief."), PRESETS[name])
    told = session["instructions"].removeprefix("Be brief.")
    if name == "xai":
        assert (session["replace"], told) == (words, "")
    else:
        assert "replace" not in session
        assert "“nginx” as “engine x”; “SQL” as “sequel”" in told


def test_what_the_owner_writes_into_the_session_wins() -> None:
    given = Settings(pronunciation={"SQL": "sequel", "x": "ex"}, extra={"replace": {"SQL": "S Q L"}})
    assert session_object(given, PRESETS["xai"])["replace"] == {"SQL": "S Q L", "x": "ex"}


@pytest.mark.parametrize("words", [{"": "x"}, {"SQL": 5}, {"SQL": "a", "sql": "b"}])
def test_an_unusable_pronunciation_is_refused(words: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"^pronunciation: "):
        Settings(pronunciation=words)


# -- servers at home that answer by themselves -------------------------------------------------------------------------------------


def at_home(name: str, **options: Any) -> OpenAIRealtime:
    codec = OpenAIRealtime(Settings(model="m", **options), PRESETS[name])
    feed(codec, type="session.updated", session={"id": "s"})
    return codec


def test_speaches_is_not_told_what_it_refuses() -> None:
    session = json.loads(OpenAIRealtime(Settings(model="m"), PRESETS["speaches"]).hello()[0])["session"]
    assert not {"input_audio_format", "output_audio_format"} & set(session)
    with pytest.raises(ConfigError, match="none is not possible"):
        build(Settings(model="m", turn_detection={"type": "none"}), "speaches")


@pytest.mark.parametrize(
    ("name", "options"), [("localai", {}), ("localai", {"turn_detection": {"type": "none"}}), ("speaches", {})]
)
def test_a_turn_that_is_closed_by_hand_is_not_answered_twice(name: str, options: dict[str, Any]) -> None:
    codec = at_home(name, **options)
    assert [json.loads(message)["type"] for message in codec.end_turn()] == ["input_audio_buffer.commit"]
    feed(codec, type="input_audio_buffer.committed", item_id="u")
    assert codec.to_send() == []
    assert codec.generate("Say that it is late.") == [], "it waits for the reply that is being made"
    feed(codec, type="response.created", response={"id": "r"})
    feed(codec, type="response.done", response={"id": "r", "status": "completed"})
    assert [json.loads(message)["type"] for message in codec.to_send()] == ["response.create"]


@pytest.mark.parametrize("name", ["speaches", "openai"])
def test_nobody_waits_for_an_answer_where_no_word_was_understood_and_none_comes(name: str) -> None:
    codec = at_home(name, url="ws://127.0.0.1/")
    feed(codec, type="input_audio_buffer.speech_started", item_id="u")
    feed(codec, type="input_audio_buffer.speech_stopped", item_id="u")
    feed(codec, type="input_audio_buffer.committed", item_id="u")
    codec.generate("Say that it is late.")
    events = feed(codec, type="conversation.item.input_audio_transcription.completed", item_id="u", transcript=" ")
    if name == "openai":  # whose agent hears for itself
        assert events == [UserText("", final=True, item="u")]
        assert codec.to_send() == []
        return
    text, begun, done = events
    assert text == UserText("", final=True, item="u")
    assert begun == ReplyStarted(done.reply)
    assert done == ReplyDone(begun.reply)
    assert [json.loads(message)["type"] for message in codec.to_send()] == ["response.create"]
