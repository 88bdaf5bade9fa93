"""The service's side of AssemblyAI's Voice Agent API, over a real socket.

Nobody's own client judges it, as OpenAI's, Alibaba's and Microsoft's do of what they speak: AssemblyAI's Python package
(assemblyai 1.8.2, the newest in November 2026) has transcription, dictation, text to speech and a gateway to language models, and
nothing of the Voice Agent API, neither its address nor one of its messages.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from pipit.core.pcm import dbfs
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal, Session
from pipit.rehearsal.assemblyai_session import (
    CODES,
    client_events,
    defaults,
    interruption_delay_s,
    turn_detection,
    updated,
)
from pipit.rehearsal.shapes import Refused
from tests import speech
from tests.rehearsal.client import RATE_HZ, Client, spoken

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

QUESTION = spoken("what time is it")
QUICK = Conduct(think_s=0.02, lead_silence_s=0.05, audio_rate_limit=1e6)
NOW = datetime(2026, 11, 5, 8, 5)
SHAPE = client_events((24000,))


@pytest.fixture
async def server() -> AsyncIterator[Rehearsal]:
    """A server that does not keep to real time, where that does not matter."""
    async with Rehearsal(misbehave=Misbehaviour(flood=True), conduct=QUICK, now=lambda: NOW) as running:
        yield running


@pytest.fixture
async def real_time_server() -> AsyncIterator[Rehearsal]:
    async with Rehearsal(conduct=QUICK, now=lambda: NOW) as running:
        yield running


def session_of(server: Rehearsal) -> Session:
    [session] = server.sessions
    return session


async def begin(client: Client, **session: Any) -> dict[str, Any]:
    await client.send("session.update", session=session)
    return await client.until("session.ready")


def sound_of(client: Client, reply_id: str) -> np.ndarray:
    data = [event["data"] for event in client.of("reply.audio") if event["reply_id"] == reply_id]
    return np.frombuffer(b"".join(map(base64.b64decode, data)), "<i2")


# -- settings ----------------------------------------------------------------------------------------------------------------------


def update(**session: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": session}


@pytest.mark.parametrize(
    "event",
    [
        update(),
        update(
            system_prompt="Be brief.",
            greeting="Kitchen here.",
            tools=[{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
            input={
                "type": "audio",
                "format": {"encoding": "audio/pcm", "sample_rate": 24000},
                "keyterms": ["Sonos"],
                "transcription_mode": "min_latency",
                "turn_detection": {"vad_threshold": 0.6, "interrupt_response": True},
            },
            output={"type": "audio", "voice": "estelle", "format": {"encoding": "audio/pcm", "sample_rate": 24000}, "volume": 80},
        ),
        {"type": "tool.result", "call_id": "call_7", "result": "{}", "is_error": True},
        {"type": "reply.create"},
        {"type": "conversation.message", "role": "system", "content": "The user is in the kitchen."},
    ],
)
def test_what_the_documentation_allows_passes(event: dict[str, Any]) -> None:
    SHAPE(event, "")


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "session.begin"}, "invalid_value", "type"),
        ({"type": "session.update"}, "invalid_format", "session"),
        ({"type": "session.end", "reason": "bored"}, "invalid_format", "reason"),
        ({"type": "reply.cancel", "reply_id": "r"}, "invalid_value", "type"),
        ({"type": "input.audio", "data": ""}, "invalid_format", "data"),
        ({"type": "tool.result", "call_id": "c", "result": {}}, "invalid_format", "result"),
        (update(model="x"), "invalid_format", "session.model"),
        (update(llm={}), "invalid_format", "session.llm"),
        (update(greeting=None), "invalid_format", "session.greeting"),
        (update(greeting=""), "invalid_value", "session.greeting"),
        (update(output={"voice": "Estelle"}), "invalid_value", "session.output.voice"),
        (update(output={"volume": 101}), "invalid_value", "session.output.volume"),
        (update(input={"keyterms": ["x"] * 101}), "invalid_value", "session.input.keyterms"),
        (update(input={"transcription_prompt": "x" * 1751}), "invalid_value", "session.input.transcription_prompt"),
        (update(input={"turn_detection": {"threshold": 0.5}}), "invalid_format", "session.input.turn_detection.threshold"),
        (update(input={"turn_detection": {"min_silence": 49}}), "invalid_value", "session.input.turn_detection.min_silence"),
        (update(tools=[{"type": "function", "function": {"name": "f"}}]), "invalid_format", "session.tools[0].function"),
        (update(tools=[{"type": "function", "name": "f", "http": {}}]), "invalid_format", "session.tools[0].http"),
    ],
)
def test_anything_else_is_refused_by_name(event: dict[str, Any], code: str, param: str) -> None:
    with pytest.raises(Refused) as refused:
        SHAPE(event, "")
    assert (CODES[refused.value.problem], refused.value.path) == (code, param)


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"greeting": "Hi"}, "greeting"),
        ({"output": {"voice": "jane"}}, "output.voice"),
        ({"output": {"volume": 50, "format": {"encoding": "audio/pcm"}}}, "output.format"),
        ({"input": {"format": {"encoding": "audio/pcm"}}}, "input.format"),
    ],
)
def test_what_only_the_first_update_may_set(patch: dict[str, Any], path: str) -> None:
    first = updated(defaults(24000), patch, first=True)
    with pytest.raises(Refused) as refused:
        updated(first, patch, first=False)
    assert (refused.value.code, refused.value.path) == ("immutable_field", path)


def test_later_updates_merge_objects_and_replace_lists() -> None:
    one = updated(defaults(24000), {"tools": [{"name": "a"}], "input": {"turn_detection": {"min_silence": 300}}}, first=True)
    two = updated(one, {"tools": [{"name": "b"}], "input": {"turn_detection": {"vad_threshold": 0.7}}}, first=False)
    assert two["tools"] == [{"name": "b"}]
    assert two["input"]["turn_detection"] == {"vad_threshold": 0.7, "interrupt_response": True, "min_silence": 300}
    assert turn_detection(two).silence_ms == 300


@pytest.mark.parametrize(("mode", "delay_s"), [("min_latency", 0.0), ("balanced", 0.5), ("max_accuracy", 0.5)])
def test_how_long_one_must_talk_to_interrupt(mode: str, delay_s: float) -> None:
    config = updated(defaults(24000), {"input": {"transcription_mode": mode}}, first=True)
    assert interruption_delay_s(config) == delay_s
    config["input"]["turn_detection"]["interruption_delay"] = 200
    assert interruption_delay_s(config) == 0.2


# -- on the wire -------------------------------------------------------------------------------------------------------------------


async def test_a_conversation_in_the_documented_order(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        ready = await begin(client, greeting="Hello there.", output={"voice": "jane"})
        assert ready["config"]["output"]["voice"] == "jane"
        await client.until("reply.done", status="completed")
        await client.speak(QUESTION)
        await client.until("reply.done", status="completed")
        await client.send("session.end")
        ended = await client.until("session.ended")
        assert await client.until_closed() == (1000, "")
    greeting = ["reply.started", "reply.audio", "transcript.agent.delta", "reply.audio", "transcript.agent", "reply.done"]
    assert client.kinds() == [
        *("session.updated", "session.ready"),
        *greeting,
        *("input.speech.started", "transcript.user.delta", "input.speech.stopped", "transcript.user"),
        *greeting,
        "session.ended",
    ]
    assert ended["session_duration_seconds"] > 0
    assert ended["audio_duration_seconds"] is None
    assert all(isinstance(event["timestamp"], float) for event in client.events)
    assert session_of(server).heard == ["what time is it"]
    assert session_of(server).said == ["Hello there.", "It is eight oh five."]
    assert bytes(session_of(server).received) == QUESTION.tobytes()


async def test_the_server_says_nothing_before_the_first_update(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        await client.speak(QUESTION)  # dropped without a word
        await begin(client)
        assert [event["type"] for event in client.events] == ["session.updated", "session.ready"]
    assert bytes(session_of(server).received) == b""


async def test_user_text_is_told_whole_each_time_and_agent_text_in_pieces(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        await begin(client)
        await client.speak(QUESTION)
        await client.until("reply.done")
    deltas = client.of("transcript.user.delta")
    assert [event["text"] for event in deltas] == ["what", "what time", "what time is", "what time is it"]
    [final] = client.of("transcript.user")
    assert (final["text"], final["item_id"]) == ("what time is it", deltas[0]["item_id"])
    pieces = client.of("transcript.agent.delta")
    assert "".join(event["delta"] for event in pieces) == "It is eight oh five."
    assert [event["start_ms"] for event in pieces][1:] == [event["end_ms"] for event in pieces][:-1]
    [whole] = client.of("transcript.agent")
    assert (whole["text"], whole["interrupted"]) == ("It is eight oh five.", False)


async def test_sound_comes_in_frames_of_10_ms_at_real_time_after_some_silence() -> None:
    conduct = Conduct(think_s=0, lead_silence_s=0.3)
    async with asyncio.timeout(30), Rehearsal(conduct=conduct) as server, Client(server, "assemblyai") as client:
        loop = asyncio.get_running_loop()
        await begin(client, greeting="Hello there.")
        started = await client.until("reply.started")
        began = loop.time()
        await client.until("reply.done")
        took_s = loop.time() - began
        sound = sound_of(client, started["reply_id"])
    assert {len(base64.b64decode(event["data"])) for event in client.of("reply.audio")[:-1]} == {480}
    assert took_s >= len(sound) / RATE_HZ - 0.05
    assert not sound[: round(0.3 * RATE_HZ)].any()
    assert dbfs(sound[round(0.3 * RATE_HZ) :]) > -30


@pytest.mark.parametrize(
    "credentials", [{"headers": {"Authorization": "Bearer wrong"}}, {"headers": {}}, {"query": "?token=wrong"}]
)
async def test_a_wrong_key_is_told_after_the_upgrade(credentials: dict[str, Any]) -> None:
    async with asyncio.timeout(30), Rehearsal(conduct=Conduct(api_key="secret")) as server:
        options = {"additional_headers": credentials.get("headers", {})}
        async with Client(server, "assemblyai", credentials.get("query", ""), **options) as client:
            error = await client.until("session.error")
            assert error["code"] == "unauthorized"
            assert (await client.until_closed())[0] == 1008
    assert server.sessions[0].closed == (1008, "unauthorized")


@pytest.mark.parametrize(
    "credentials",
    [{"headers": {"Authorization": "Bearer secret"}}, {"headers": {"Authorization": "secret"}}, {"query": "?token=secret"}],
)
async def test_the_right_key_comes_in_three_ways(credentials: dict[str, Any]) -> None:
    async with asyncio.timeout(30), Rehearsal(conduct=Conduct(api_key="secret")) as server:
        options = {"additional_headers": credentials.get("headers", {})}
        async with Client(server, "assemblyai", credentials.get("query", ""), **options) as client:
            await begin(client)


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"output": {"voice": "ivy"}}, "invalid_value", "output.voice"),
        ({"colour": "red"}, "invalid_format", "colour"),
        ({"agent_id": "a", "greeting": "Hi"}, "agent_id_not_first", "agent_id"),
        ({"agent_id": "a"}, "agent_not_found", "agent_id"),
    ],
)
async def test_a_wrong_first_update_is_fatal(server: Rehearsal, session: dict[str, Any], code: str, param: str) -> None:
    async with Client(server, "assemblyai") as client:
        await client.send("session.update", session=session)
        error = await client.until("session.error")
        assert (error["code"], error["param"]) == (code, param)
        assert (await client.until_closed())[0] == 1008


async def test_a_wrong_later_update_is_not(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        await begin(client)
        await client.send("session.update", session={"output": {"voice": "jane"}})
        assert (await client.until("session.error"))["code"] == "immutable_field"
        await client.send("session.update", session={"system_prompt": "Be brief."})
        assert (await client.until("session.updated"))["config"]["system_prompt"] == "Be brief."


async def test_a_lost_session_can_be_resumed_for_a_while_and_once() -> None:
    conduct = Conduct(resume_s=20)
    async with asyncio.timeout(20), Rehearsal(misbehave=Misbehaviour(drop_mid_reply=True, sessions=1), conduct=conduct) as server:
        async with Client(server, "assemblyai") as client:
            ready = await begin(client, greeting="One two three four five.", output={"voice": "jane"})
            await client.until_closed()
        async with Client(server, "assemblyai") as client:
            await client.send("session.resume", session_id=ready["session_id"])
            again = await client.until("session.ready")
            assert again["session_id"] == ready["session_id"]
            assert again["config"]["output"]["voice"] == "jane"
            await client.speak(QUESTION[: RATE_HZ // 2])
            await client.send("session.end")
            await client.until("session.ended")
            assert client.of("reply.started") == [], "no second greeting"
        async with Client(server, "assemblyai") as client:
            await client.send("session.resume", session_id=ready["session_id"])
            assert (await client.until("session.error"))["code"] == "session_not_found"


async def test_a_session_that_ended_cannot_be_resumed(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        await client.send("session.resume", session_id="s_1")
        assert (await client.until("session.error"))["code"] == "session_not_found"
        assert (await client.until_closed())[0] == 1008


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", "invalid_format"),
        (b"{}", "invalid_format"),
        ('{"type":"input.audio","audio":"?"}', "invalid_audio"),
        ('{"type":"input.audio","audio":"AAAA"}', "invalid_audio"),
        ('{"type":"reply.cancel","reply_id":"r"}', "invalid_value"),
    ],
)
async def test_nonsense_is_answered_and_survived(server: Rehearsal, message: str | bytes, code: str) -> None:
    async with Client(server, "assemblyai") as client:
        await begin(client)
        await client.socket.send(message)
        assert (await client.until("session.error"))["code"] == code
        await client.send("session.update", session={"system_prompt": "x"})
        await client.until("session.updated")


async def test_sound_that_comes_much_too_fast_is_discarded_with_one_complaint() -> None:
    conduct = Conduct(audio_rate_limit=1.0)
    async with asyncio.timeout(30), Rehearsal(conduct=conduct) as server, Client(server, "assemblyai") as client:
        await begin(client)
        await client.speak(np.zeros(10 * RATE_HZ, np.int16))
        assert (await client.until("session.error"))["code"] == "audio_rate_violation"
        await client.send("session.end")
        await client.until_closed()
    assert len(client.of("session.error")) == 1
    assert 3.0 <= len(session_of(server).received) / 2 / RATE_HZ < 5.0


async def interrupt(client: Client, sound: np.ndarray, **detection: Any) -> dict[str, Any]:
    """Talk during a long greeting; return its end."""
    await begin(client, greeting="One two three four five six seven. " * 3, input={"turn_detection": detection})
    for _ in range(30):
        await client.until("reply.audio")
    await client.speak(sound)
    return await client.until("reply.done")


async def test_somebody_who_talks_interrupts_the_reply(real_time_server: Rehearsal) -> None:
    async with Client(real_time_server, "assemblyai") as client:
        done = await interrupt(client, QUESTION, interruption_delay=0)
        assert done["status"] == "interrupted"
        second = await client.until("reply.done")
        assert second["status"] == "completed"
    [cut] = [event for event in client.of("transcript.agent") if event["reply_id"] == done["reply_id"]]
    assert cut["interrupted"] is True
    assert "One two three four five six seven.".startswith(cut["text"])
    after = client.events[client.events.index(done) :]
    assert not [event for event in after if event["type"] == "reply.audio" and event["reply_id"] == done["reply_id"]]


async def test_without_interrupt_response_the_reply_is_finished_first(real_time_server: Rehearsal) -> None:
    async with Client(real_time_server, "assemblyai") as client:
        await begin(client, greeting="One two.", input={"turn_detection": {"interrupt_response": False}})
        await client.until("reply.audio")
        await client.speak(QUESTION)
        done = [await client.until("reply.done") for _ in range(2)]
    assert [event["status"] for event in done] == ["completed", "completed"]
    assert session_of(real_time_server).said[1] == "It is eight oh five."


async def test_a_cough_does_not_interrupt(real_time_server: Rehearsal) -> None:
    cough = speech.timeline([(0.5, speech.say("hey jarvis", rate_hz=RATE_HZ)[-RATE_HZ // 5 :])], 2.0, RATE_HZ, -55)
    async with Client(real_time_server, "assemblyai") as client:
        await begin(client, greeting="One two three.", input={"turn_detection": {"interruption_delay": 100}})
        await client.until("reply.audio")
        await client.speak(cough)
        done = await client.until("reply.done")
        assert done["status"] == "completed"
        kinds = [event["type"] for event in client.events]
        assert "input.speech.stopped" in kinds
        assert "transcript.user" not in kinds


async def test_reply_create_waits_for_its_turn(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        await begin(client)
        await client.send("reply.create", instructions="Say: one.")
        await client.send("reply.create", instructions="Say: two.")
        texts = [(await client.until("transcript.agent"))["text"] for _ in range(2)]
    assert texts == ["one.", "two."]


async def test_reply_create_replaces_the_greeting(real_time_server: Rehearsal) -> None:
    async with Client(real_time_server, "assemblyai") as client:
        await begin(client, greeting="One two three four five six seven. " * 3)
        await client.until("reply.audio")
        await client.send("reply.create", instructions="Say: two.")
        done = [await client.until("reply.done") for _ in range(2)]
    assert [event["status"] for event in done] == ["interrupted", "completed"]
    assert client.of("transcript.agent")[-1]["text"] == "two."


async def test_what_it_did_not_understand_it_says_so(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        await begin(client)
        await client.speak(spoken("please order twelve pizzas for tomorrow"))
        assert (await client.until("transcript.agent"))["text"] == "Sorry, I did not understand that."
        assert client.of("transcript.user") == []


async def test_volume_is_applied(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        await begin(client, output={"volume": 10})
        await client.send("reply.create", instructions="Say: one two.")
        soft = await client.until("reply.done")
        await client.send("session.update", session={"output": {"volume": 100}})
        await client.send("reply.create", instructions="Say: one two.")
        loud = await client.until("reply.done")
    difference_db = dbfs(sound_of(client, loud["reply_id"])) - dbfs(sound_of(client, soft["reply_id"]))
    assert difference_db == pytest.approx(20, abs=0.5)


async def test_results_of_tools_and_messages_are_taken(server: Rehearsal) -> None:
    async with Client(server, "assemblyai") as client:
        await begin(client)
        await client.send("tool.result", call_id="call_1", result="{}")
        await client.send("conversation.message", role="user", content="hello")
        await client.send("session.end")
        await client.until("session.ended")
        assert client.of("session.error") == []
