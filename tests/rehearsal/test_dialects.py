"""The dialects of OpenAI's protocol: our codecs hold a conversation in each, and each refuses what the real service refuses."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from pipit.core.options import Secret
from pipit.core.tool import Declaration
from pipit.rehearsal import Conduct, Rehearsal
from pipit.rehearsal.dialects import DIALECTS, XAI, Beta, Dialect, Inworld, Qwen, Speaches, Yandex
from pipit.rehearsal.shapes import Refused
from pipit.services import Failed, Line, Opening, Ready, ReplyAudio, ReplyDone, ReplyText, UserStarted, UserStopped, UserText
from pipit.services.openai_presets import PRESETS
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import WebSocketSession
from tests import speech

KEY = "k-0123456789"
MODELS = {"yandex": "gpt://folder/speech-realtime-260528", "localai": "pipeline", "speaches": "model"}
QUERY = {"inworld": "?key=kitchen&protocol=realtime"}


def session_to(server: Rehearsal, name: str, **options: Any) -> tuple[WebSocketSession, OpenAIRealtime]:
    given: dict[str, Any] = {"api_key": Secret(KEY), "model": MODELS.get(name), **options}
    settings = Settings(url=server.url(name) + QUERY.get(name, ""), **given)
    opening = Opening((Declaration("lamp", "Switches the lamp."),), (Line(False, "Hello."), Line(True, "Hello you.")), greet=True)
    codec = OpenAIRealtime(settings, PRESETS[name], opening)
    return WebSocketSession(codec), codec


@pytest.mark.parametrize("name", DIALECTS)
async def test_our_codec_is_understood_and_understands(name: str) -> None:
    voice = {"yandex": "masha", "openai": "marin", "azure": "marin", "localai": "marin"}.get(name)
    async with asyncio.timeout(20), Rehearsal(conduct=Conduct(api_key=KEY, think_s=0)) as server:
        session, codec = session_to(server, name, greeting="Hello there.", voice=voice)
        said, sound, events = "", 0, []
        async for event in session.events():
            events.append(event)
            if isinstance(event, ReplyText):
                said += event.text
            if isinstance(event, ReplyAudio):
                sound += len(event.pcm)
            if isinstance(event, ReplyDone):
                await session.interrupt(event.reply, 100, by_service=False)
                await session.close()
        assert isinstance(events[0], Ready), events[0]
        assert said.strip() == "Hello there."
        assert 0.4 < sound / 2 / session.output_rate_hz < 2.0, "spoken at the rate that was agreed on"
        assert not [event for event in events if isinstance(event, Failed)]
        assert codec.unknown == codec.malformed == 0
        assert not [event for event in server.sessions[0].of("error")]


@pytest.mark.parametrize("name", ["yandex", "qwen", "xai", "speaches"])
async def test_a_spoken_question_is_answered(name: str) -> None:
    async with asyncio.timeout(30), Rehearsal(conduct=Conduct(think_s=0)) as server:
        session, codec = session_to(server, name)
        rate_hz = session.input_rate_hz
        question = speech.timeline([(0.3, speech.say("what time is it", rate_hz=rate_hz))], 1.6, rate_hz, -55).tobytes()
        piece = rate_hz // 25 * 2
        events: list[Any] = []
        talking: asyncio.Task[None] | None = None

        async def talk() -> None:
            for start in range(0, len(question), piece):
                await session.audio(question[start : start + piece])
            while True:
                await session.audio(bytes(piece))
                await asyncio.sleep(0.02)

        async for event in session.events():
            events.append(event)
            if isinstance(event, Ready):
                talking = asyncio.create_task(talk())
            if isinstance(event, ReplyDone):
                await session.close()
        assert talking is not None
        talking.cancel()
    kinds = [type(event) for event in events]
    assert kinds.count(ReplyDone) == 1, "one question, one answer"
    assert kinds.index(UserStarted) < kinds.index(UserStopped) < kinds.index(ReplyAudio)
    assert [event for event in events if isinstance(event, ReplyText)]
    heard = [event.text for event in events if isinstance(event, UserText) and event.final]
    assert heard == ([] if name == "speaches" else [heard[0]])
    assert not heard or "time" in heard[0]
    assert codec.unknown == codec.malformed == 0


@pytest.mark.parametrize("name", DIALECTS)
async def test_each_wants_the_key_in_its_own_way(name: str) -> None:
    async with asyncio.timeout(20), Rehearsal(conduct=Conduct(api_key="another")) as server:
        session, _ = session_to(server, name)
        (failed,) = [event async for event in session.events()]
        assert isinstance(failed, Failed)
        assert failed.kind == "config"
        assert "HTTP 401" in failed.reason
        for header in ("Authorization", "api-key"):
            for value in ("another", "Token another"):
                if (name, header, value) == ("azure", "api-key", "another"):
                    continue
                query = QUERY.get(name) or (f"?model={MODELS[name]}" if name in MODELS else "")
                with pytest.raises(InvalidStatus, match="401"):
                    await connect(server.url(name) + query, additional_headers={header: value})


@pytest.mark.parametrize(
    ("name", "query"), [("yandex", "?model=gpt-realtime"), ("yandex", ""), ("inworld", ""), ("inworld", "?key=a")]
)
async def test_an_incomplete_address_is_refused(name: str, query: str) -> None:
    async with asyncio.timeout(20), Rehearsal() as server:
        with pytest.raises(InvalidStatus, match="400"):
            await connect(server.url(name) + query)


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": session}


def ga(**given: Any) -> dict[str, Any]:
    return update(type="realtime", audio={"input": {}, "output": {}, **given})


@pytest.mark.parametrize(
    ("dialect", "event", "path"),
    [
        (Yandex(), ga(input={"transcription": {"model": "whisper-1"}}), "session.audio.input.transcription"),
        (Yandex(), ga(input={"noise_reduction": None}), "session.audio.input.noise_reduction"),
        (Yandex(), ga(input={"turn_detection": {"type": "semantic_vad"}}), "session.turn_detection.type"),
        (Yandex(), ga(output={"voice": "marin"}), "session.audio.output.voice"),
        (Yandex(), update(type="realtime", output_modalities=["video"]), "session.output_modalities"),
        (XAI(), ga(output={"voice": "ara"}), "session.audio.voice"),
        (XAI(), ga(input={"turn_detection": None}), "session.audio.turn_detection"),
        (
            XAI(),
            update(type="realtime", audio={"input": {}}, turn_detection={"type": "semantic_vad"}),
            "session.turn_detection.type",
        ),
        (XAI(), update(voice=5), "session.voice"),
        (Inworld(), ga(), "session.model"),
        (Beta(), ga(), "session.type"),
        (Beta(), update(output_modalities=["audio"]), "session.output_modalities"),
        (Beta(), update(input_audio_format="pcm"), "session.input_audio_format"),
        (Qwen(), update(input_audio_format="opus"), "session.input_audio_format"),
        (Qwen(), update(audio={"input": {"format": {"type": "wav"}}}), "session.audio.input.format.type"),
        (Qwen(), update(turn_detection={"type": "server_vad", "threshold": -2}), "session.turn_detection.threshold"),
        (Qwen(), update(translation={"language": "en"}), "session.translation"),
        (Qwen(), update(modalities=["audio", "text"]), "session.modalities"),
        (Qwen(), update(tools=[{"type": "function", "name": "lamp"}]), "session.tools[0].function"),
        (Qwen(), {"type": "conversation.item.truncate"}, "type"),
        (Speaches(), {"type": "conversation.item.truncate"}, "type"),
        (
            Beta(),
            {"type": "conversation.item.create", "item": {"type": "message", "content": [{"type": "output_text", "text": "x"}]}},
            "item.content[0].type",
        ),
    ],
)
def test_what_the_real_service_refuses(dialect: Dialect, event: dict[str, Any], path: str) -> None:
    with pytest.raises(Refused) as caught:
        dialect.heard(copy.deepcopy(event))
    assert caught.value.path == path


async def test_a_refusal_reaches_the_client_with_its_event_id_and_path() -> None:
    async with asyncio.timeout(20), Rehearsal() as server:
        session, _ = session_to(server, "yandex", voice="marin")
        events = [event async for event in session.events()]
    assert events == [Failed("config", "Yandex AI Studio: Invalid value: 'marin'. (session.audio.output.voice)", "voice")]


def test_beta_shows_sessions_flat_and_items_once() -> None:
    pcm, law = {"type": "audio/pcm", "rate": 24000}, {"type": "audio/pcmu"}
    audio = {"input": {"format": pcm, "transcription": None, "turn_detection": None}, "output": {"format": law, "voice": "alloy"}}
    (shown,) = Beta().said({"type": "session.updated", "session": {"id": "s", "audio": audio}})
    assert (shown["session"]["input_audio_format"], shown["session"]["output_audio_format"]) == ("pcm16", "g711_ulaw")
    assert "audio" not in shown["session"]
    assert Beta().said({"type": "conversation.item.done"}) == []
    assert [e["type"] for e in Beta().said({"type": "conversation.item.added"})] == ["conversation.item.created"]
