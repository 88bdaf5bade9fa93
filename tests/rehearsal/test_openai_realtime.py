"""The service's side of OpenAI Realtime, over a real socket."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from pipit.core.pcm import dbfs
from pipit.rehearsal import Conduct, Rehearsal, Session
from tests import speech
from tests.rehearsal.client import RATE_HZ, Client, spoken

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

QUESTION = spoken("what time is it")
STORY = spoken("tell me a long story")
QUICK = Conduct(think_s=0.02)
NOW = datetime(2026, 11, 5, 8, 5)


@pytest.fixture
async def server() -> AsyncIterator[Rehearsal]:
    async with Rehearsal(conduct=QUICK, now=lambda: NOW) as running:
        yield running


def session_of(server: Rehearsal) -> Session:
    [session] = server.sessions
    return session


async def configure(client: Client, **audio: Any) -> None:
    await client.send("session.update", session={"type": "realtime", "audio": audio})
    await client.until("session.updated")


def sound_of(client: Client, response_id: str) -> np.ndarray:
    deltas = [event["delta"] for event in client.of("response.output_audio.delta") if event["response_id"] == response_id]
    return np.frombuffer(b"".join(map(base64.b64decode, deltas)), "<i2")


async def test_a_question_is_answered_in_the_documented_order(server: Rehearsal) -> None:
    async with Client(server, "openai", "?model=gpt-realtime-mini") as client:
        created = await client.until("session.created")
        assert created["session"]["model"] == "gpt-realtime-mini"
        await configure(client, input={"transcription": {"model": "gpt-4o-mini-transcribe"}})
        await client.speak(QUESTION)
        done = await client.until("response.done")
    order = [kind for kind in client.kinds() if "transcription" not in kind]
    assert order == [
        *("session.created", "session.updated"),
        *("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped", "input_audio_buffer.committed"),
        *("conversation.item.added", "conversation.item.done", "response.created"),
        *("response.output_item.added", "conversation.item.added", "response.content_part.added"),
        *("response.output_audio_transcript.delta", "response.output_audio.delta"),
        *("response.output_audio.done", "response.output_audio_transcript.done", "response.content_part.done"),
        *("conversation.item.done", "response.output_item.done", "response.done"),
    ]
    assert done["response"]["status"] == "completed"
    [output] = done["response"]["output"]
    assert output["content"] == [{"type": "output_audio", "transcript": "It is eight oh five."}]
    assert "".join(event["delta"] for event in client.of("response.output_audio_transcript.delta")) == "It is eight oh five."
    sound = sound_of(client, done["response"]["id"])
    assert 1.0 < len(sound) / RATE_HZ < 3.0
    assert dbfs(sound) > -30
    assert len({event["event_id"] for event in client.events}) == len(client.events)


async def test_ids_tie_the_events_together(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await client.speak(QUESTION)
        done = await client.until("response.done")
    started, stopped = client.of("input_audio_buffer.speech_started")[0], client.of("input_audio_buffer.speech_stopped")[0]
    [committed] = client.of("input_audio_buffer.committed")
    user, agent = client.of("conversation.item.added")
    assert started["item_id"] == stopped["item_id"] == committed["item_id"] == user["item"]["id"]
    assert agent["previous_item_id"] == user["item"]["id"]
    response = done["response"]
    assert response["output"][0]["id"] == agent["item"]["id"]
    for event in client.events:
        if event["type"].startswith("response.output_audio"):
            assert (event["response_id"], event["item_id"]) == (response["id"], agent["item"]["id"])
            assert (event["output_index"], event["content_index"]) == (0, 0)


async def test_what_was_said_is_transcribed_word_by_word(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await configure(client, input={"transcription": {"model": "gpt-4o-transcribe"}})
        await client.speak(QUESTION)
        completed = await client.until("conversation.item.input_audio_transcription.completed")
        deltas = client.of("conversation.item.input_audio_transcription.delta")
    assert [event["delta"] for event in deltas] == ["what", " time", " is", " it"]
    assert completed["transcript"] == "what time is it"
    assert session_of(server).heard == ["what time is it"]


async def test_whisper_sends_the_whole_text_as_one_delta(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await configure(client, input={"transcription": {"model": "whisper-1"}})
        await client.speak(QUESTION)
        await client.until("conversation.item.input_audio_transcription.completed")
        assert [e["delta"] for e in client.of("conversation.item.input_audio_transcription.delta")] == ["what time is it"]


async def test_without_asking_for_it_nothing_is_transcribed(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await client.speak(QUESTION)
        await client.until("response.done")
        assert not any("transcription" in event["type"] for event in client.events)


async def test_speech_is_found_where_it_is(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await client.speak(spoken("what time is it", before_s=1.0))
        started = await client.until("input_audio_buffer.speech_started")
        stopped = await client.until("input_audio_buffer.speech_stopped")
    assert started["audio_start_ms"] == pytest.approx(700, abs=60)
    length_ms = len(speech.say("what time is it", voice="en-us")) / 16
    assert stopped["audio_end_ms"] == pytest.approx(1000 + length_ms + 500, abs=100)


async def test_the_session_remembers_what_it_received_and_when(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await client.speak(QUESTION)
        await client.until("response.done")
    session = session_of(server)
    assert bytes(session.received) == QUESTION.tobytes()
    assert [message["type"] for message in session.messages] == ["input_audio_buffer.append"] * len(session.messages)
    assert len(session.arrivals) == len(session.messages)
    assert session.arrivals == sorted(session.arrivals)
    assert session.arrivals[0] >= session.opened_at
    assert session.events[0]["type"] == "session.created"
    assert server.connections == 1


async def test_what_it_did_not_understand_it_says_so(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await client.speak(spoken("please order twelve pizzas for tomorrow"))
        done = await client.until("response.done")
    assert done["response"]["output"][0]["content"][0]["transcript"] == "Sorry, I did not understand that."
    assert session_of(server).heard == []


async def test_a_blip_is_not_answered(server: Rehearsal) -> None:
    """The end of the wake word, which reaches the service when the person pauses after it."""
    end = speech.say("hey jarvis", rate_hz=RATE_HZ)[-RATE_HZ // 5 :]
    async with Client(server, "openai") as client:
        await client.speak(speech.timeline([(0.0, end), (2.0, speech.say("what time is it", rate_hz=RATE_HZ))], 4.5, RATE_HZ, -55))
        await client.until("response.done")
        assert len(client.of("input_audio_buffer.committed")) == 2
        assert len(client.of("response.created")) == 1
    assert session_of(server).heard == ["what time is it"]


async def test_with_create_response_off_turns_are_found_but_not_answered(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await configure(client, input={"turn_detection": {"type": "server_vad", "create_response": False}})
        await client.speak(QUESTION)
        await client.until("input_audio_buffer.committed")
        await client.send("response.create")
        created = await client.until("response.created")
        await client.until("response.done")
        assert len(client.of("response.created")) == 1
    assert created["response"]["status"] == "in_progress"
    assert session_of(server).said == ["It is eight oh five."]


async def test_push_to_talk(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await configure(client, input={"turn_detection": None})
        await client.speak(spoken("tell me a joke"))
        await client.send("input_audio_buffer.clear")
        await client.until("input_audio_buffer.cleared")
        await client.speak(QUESTION)
        await client.send("input_audio_buffer.commit")
        await client.until("conversation.item.done")
        await client.send("response.create")
        done = await client.until("response.done")
        assert client.of("input_audio_buffer.speech_started") == []
    assert done["response"]["output"][0]["content"][0]["transcript"] == "It is eight oh five."


async def test_an_empty_buffer_cannot_be_committed(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await client.send("input_audio_buffer.commit", event_id="mine")
        error = (await client.until("error"))["error"]
    assert (error["code"], error["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
    assert "buffer only has 0.00ms of audio" in error["message"]


async def begin_story(client: Client) -> dict[str, Any]:
    """Ask for the story and return its first sound's event."""
    await client.speak(STORY)
    return await client.until("response.output_audio.delta")


async def test_somebody_who_talks_interrupts_the_reply(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        first = await begin_story(client)
        await client.speak(QUESTION)
        await client.until("input_audio_buffer.speech_started")
        done = await client.until("response.done")
        assert done["response"]["id"] == first["response_id"]
        assert done["response"]["status"] == "cancelled"
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        assert done["response"]["output"][0]["status"] == "incomplete"
        second = await client.until("response.done")
        assert second["response"]["status"] == "completed"
    deltas = [place for place, event in enumerate(client.events) if event.get("response_id") == first["response_id"]]
    assert deltas[-1] < client.events.index(done)
    assert session_of(server).heard == ["tell me a long story", "what time is it"]


async def test_with_interrupt_response_off_the_reply_goes_on(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        vad = {"type": "server_vad", "interrupt_response": False, "create_response": False}
        await configure(client, input={"turn_detection": vad})
        await client.send("response.create", response={"instructions": "Say: " + "one two three four five " * 10})
        await client.until("response.output_audio.delta")
        await client.speak(QUESTION)
        await client.until("input_audio_buffer.committed")
        done = await client.until("response.done")
        assert done["response"]["status"] == "completed"


async def test_a_second_response_is_refused_while_one_is_made(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        first = await begin_story(client)
        await client.send("response.create", event_id="again")
        error = (await client.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("conversation_already_has_active_response", "again")
        assert first["response_id"] in error["message"]
        await client.send("response.create", response={"conversation": "none", "instructions": "Say: aside."})
        aside = await client.until("response.done")
        assert aside["response"]["conversation_id"] is None
        assert aside["response"]["status"] == "completed"


async def test_a_reply_is_cancelled_and_truncated(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        first = await begin_story(client)
        item_id = first["item_id"]
        for _ in range(9):
            await client.until("response.output_audio.delta")
        await client.send("response.cancel", event_id="stop")
        done = await client.until("response.done")
        assert done["response"]["status_details"] == {"type": "cancelled", "reason": "client_cancelled"}
        sent_ms = len(sound_of(client, first["response_id"])) * 1000 // RATE_HZ
        await client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=sent_ms + 50, event_id="far")
        error = (await client.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("item_truncate_invalid_audio_end_ms", "far")
        await client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=600)
        truncated = await client.until("conversation.item.truncated")
        assert (truncated["item_id"], truncated["content_index"], truncated["audio_end_ms"]) == (item_id, 0, 600)
        await client.send("conversation.item.retrieve", item_id=item_id)
        item = (await client.until("conversation.item.retrieved"))["item"]
        assert item["status"] == "incomplete"
        assert item["content"] in ([{"type": "output_audio", "transcript": words}] for words in ("Here", "Here is"))
        await client.send("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=700)
        assert (await client.until("error"))["error"]["code"] == "item_truncate_invalid_audio_end_ms"


async def test_nothing_to_cancel_is_a_benign_error(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await client.send("response.cancel", event_id="c")
        error = (await client.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("response_cancel_not_active", "c")
        assert error["message"].startswith("Cancellation failed")
        await client.send("response.cancel", response_id="resp_x")
        assert (await client.until("error"))["error"]["code"] == "response_cancel_not_active"


async def test_a_reply_is_cancelled_while_the_agent_still_thinks() -> None:
    async with asyncio.timeout(30), Rehearsal(conduct=Conduct(think_s=30)) as server, Client(server, "openai") as client:
        await client.send("response.create")
        await client.until("response.created")
        await client.send("response.cancel")
        done = await client.until("response.done")
        assert (done["response"]["status"], done["response"]["output"]) == ("cancelled", [])


async def test_the_sound_is_sent_faster_than_real_time_but_not_at_once() -> None:
    async with asyncio.timeout(30), Rehearsal(conduct=Conduct(think_s=0, burst=8.0)) as server, Client(server, "openai") as client:
        loop = asyncio.get_running_loop()
        began = loop.time()  # before the sound, which a busy machine delivers late and all at once
        first = await begin_story(client)
        for _ in range(100):
            await client.until("response.output_audio.delta")
        sent_s = len(sound_of(client, first["response_id"])) / RATE_HZ
        assert sent_s > 9.5
        assert loop.time() - began > (sent_s - 1.5) / 8.0


async def test_instructions_are_spoken(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        instructions = "You live in a kitchen.\nSay exactly: Kitchen here."
        await client.send("response.create", response={"instructions": instructions, "metadata": {"reason": "greeting"}})
        done = await client.until("response.done")
        assert done["response"]["metadata"] == {"reason": "greeting"}
        assert done["response"]["output"][0]["content"][0]["transcript"] == "Kitchen here."


async def test_a_typed_question_is_answered_in_writing(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "What time is it?"}]}
        await client.send("conversation.item.create", item=item)
        added = await client.until("conversation.item.added")
        assert added["previous_item_id"] is None
        await client.send("response.create", response={"output_modalities": ["text"]})
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": "It is eight oh five."}]
        assert client.of("response.output_audio.delta") == []
        assert "".join(event["delta"] for event in client.of("response.output_text.delta")) == "It is eight oh five."


async def test_a_recorded_question_is_answered(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        recording = {"type": "input_audio", "audio": base64.b64encode(QUESTION.tobytes()).decode()}
        note = {"type": "input_text", "text": "A recording:"}
        await client.send("conversation.item.create", item={"type": "message", "role": "user", "content": [note, recording]})
        await client.send("response.create")
        done = await client.until("response.done")
        assert done["response"]["output"][0]["content"][0]["transcript"] == "It is eight oh five."
        two = {"type": "message", "role": "user", "content": [recording, recording]}
        await client.send("conversation.item.create", item=two, event_id="two")
        assert (await client.until("error"))["error"]["event_id"] == "two"


async def test_items_are_created_in_order_retrieved_and_deleted(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        for name, after in [("b", None), ("a", "root"), ("c", "b")]:
            item = {"id": name, "type": "message", "role": "system", "content": [{"type": "input_text", "text": name}]}
            await client.send("conversation.item.create", item=item, previous_item_id=after)
        added = [await client.until("conversation.item.added") for _ in range(3)]
        assert [(event["item"]["id"], event["previous_item_id"]) for event in added] == [("b", None), ("a", None), ("c", "b")]
        await client.send("conversation.item.delete", item_id="b")
        assert (await client.until("conversation.item.deleted"))["item_id"] == "b"
        await client.send("conversation.item.retrieve", item_id="b", event_id="gone")
        error = (await client.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("item_retrieve_invalid_item_id", "gone")


async def test_the_voice_is_locked_after_the_first_sound(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await configure(client, output={"voice": "cedar"})
        await client.speak(QUESTION)
        await client.until("response.done")
        await client.send("session.update", event_id="v", session={"type": "realtime", "audio": {"output": {"voice": "marin"}}})
        error = (await client.until("error"))["error"]
        assert (error["code"], error["event_id"]) == ("cannot_update_voice", "v")


async def test_a_wrong_update_changes_nothing(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        before = (await client.until("session.created"))["session"]
        wrong = {"type": "realtime", "instructions": "changed", "audio": {"output": {"voice": "nobody"}}}
        await client.send("session.update", event_id="w", session=wrong)
        error = (await client.until("error"))["error"]
        assert (error["type"], error["code"], error["param"]) == (
            "invalid_request_error", "invalid_value", "session.audio.output.voice",
        )  # fmt: skip
        assert error["event_id"] == "w"
        await client.send("session.update", session={"type": "realtime"})
        assert (await client.until("session.updated"))["session"] == before


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", "invalid_json"),
        ("[]", "invalid_json"),
        (b'{"type":"response.create"}', "invalid_json"),
        ('{"type":"response.explode"}', "invalid_value"),
        ('{"type":"input_audio_buffer.append","audio":"?"}', "invalid_value"),
        ('{"type":"input_audio_buffer.append","audio":"AAAA"}', "invalid_value"),  # three bytes
    ],
)
async def test_nonsense_is_answered_and_survived(server: Rehearsal, message: str | bytes, code: str) -> None:
    async with Client(server, "openai") as client:
        await client.socket.send(message)
        assert (await client.until("error"))["error"]["code"] == code
        await client.send("session.update", session={"type": "realtime"})
        await client.until("session.updated")


async def test_more_than_15_mib_in_one_append_are_too_much(server: Rehearsal) -> None:
    async with Client(server, "openai") as client:
        await client.send("input_audio_buffer.append", audio=base64.b64encode(bytes(15 * 1024 * 1024 + 2)).decode())
        error = (await client.until("error"))["error"]
        assert (error["code"], error["param"]) == ("invalid_value", "audio")


@pytest.mark.parametrize(("header", "let_in"), [("Bearer secret", True), ("Bearer wrong", False), ("secret", False), (None, False)])
async def test_the_key_is_checked_at_the_door(header: str | None, let_in: bool) -> None:
    headers = {"Authorization": header} if header else {}
    async with asyncio.timeout(30), Rehearsal(conduct=Conduct(api_key="secret")) as server:
        if let_in:
            async with Client(server, "openai", additional_headers=headers) as client:
                await client.until("session.created")
        else:
            with pytest.raises(InvalidStatus) as refused:
                await Client(server, "openai", additional_headers=headers).__aenter__()
            assert refused.value.response.status_code == 401
            assert b"invalid_api_key" in refused.value.response.body
            assert server.sessions == []
        assert server.connections == 1


async def test_the_beta_is_over(server: Rehearsal) -> None:
    async with Client(server, "openai", additional_headers={"OpenAI-Beta": "realtime=v1"}) as client:
        assert (await client.until("error"))["error"]["code"] == "beta_api_shape_disabled"
        code, reason = await client.until_closed()
        assert (code, reason) == (4000, "invalid_request_error.beta_api_shape_disabled")


async def test_a_session_ends_after_its_time() -> None:
    async with asyncio.timeout(30), Rehearsal(conduct=Conduct(session_limit_s=0.2)) as server, Client(server, "openai") as client:
        assert (await client.until("error"))["error"]["code"] == "session_expired"
        code, reason = await client.until_closed()
        assert code == 1001
        assert "maximum duration" in str(reason)
    assert session_of(server).closed == (1001, reason)


async def test_a_client_that_leaves_in_the_middle_of_a_reply_leaves_nothing_behind() -> None:
    async with asyncio.timeout(30), Rehearsal(conduct=QUICK) as server, Client(server, "openai") as client:
        await begin_story(client)
    assert session_of(server).closed == (1000, "")


async def test_two_clients_do_not_meet(server: Rehearsal) -> None:
    async with Client(server, "openai") as one, Client(server, "openai") as other:
        await asyncio.gather(one.speak(QUESTION), other.speak(spoken("tell me a joke")))
        await asyncio.gather(one.until("response.done"), other.until("response.done"))
    assert sorted(itertools.chain(*(session.heard for session in server.sessions))) == ["tell me a joke", "what time is it"]
