"""OpenAI's own Python library talks to the rehearsal: the judge of what the server takes the protocol to be."""

from __future__ import annotations

import asyncio
import base64
import typing
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types import realtime as types
from pydantic import BaseModel, TypeAdapter

from pipit.core.pcm import dbfs
from pipit.rehearsal import Conduct, Rehearsal
from tests import speech
from tests.rehearsal.client import RATE_HZ, spoken
from tests.rehearsal.talk import misbehaving

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

EVENT_TYPES: dict[str, type[BaseModel]] = {
    typing.get_args(member.model_fields["type"].annotation)[0]: member
    for member in typing.get_args(typing.get_args(types.RealtimeServerEvent)[0])
}

SENDS = {
    *("error", "session.created", "session.updated"),
    *("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"),
    *("input_audio_buffer.committed", "input_audio_buffer.cleared"),
    *("conversation.item.added", "conversation.item.done", "conversation.item.retrieved"),
    *("conversation.item.deleted", "conversation.item.truncated"),
    "conversation.item.input_audio_transcription.delta",
    "conversation.item.input_audio_transcription.completed",
    *("response.created", "response.done", "response.output_item.added", "response.output_item.done"),
    *("response.content_part.added", "response.content_part.done"),
    *("response.output_audio.delta", "response.output_audio.done"),
    *("response.output_audio_transcript.delta", "response.output_audio_transcript.done"),
    *("response.output_text.delta", "response.output_text.done"),
}
"""Everything that the server sends where no tool is called and nothing fails."""
CALLS = {"response.function_call_arguments.delta", "response.function_call_arguments.done"}
TRANSCRIPT_FAILED = "conversation.item.input_audio_transcription.failed"

UNDECLARED = {("RealtimeSessionCreateRequest", name) for name in ("id", "object", "expires_at")}
"""What the real service sends beyond the library's types: its own type for the answer of the sessions endpoint has these fields."""


@pytest.fixture
async def server() -> AsyncIterator[Rehearsal]:
    async with Rehearsal(conduct=Conduct(api_key="secret", think_s=0.02)) as running:
        yield running


class Caller:
    """A conversation through the library; keeps the events."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def until(self, kind: str) -> Any:
        async with asyncio.timeout(10):
            while True:
                event = await self.connection.recv()
                self.events.append(event)
                if event.type == kind:
                    return event

    async def speak(self, samples: np.ndarray) -> None:
        for start in range(0, len(samples), RATE_HZ // 10):
            block = samples[start : start + RATE_HZ // 10]
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(block.tobytes()).decode())

    def text_of(self, kind: str, response_id: str) -> str:
        return "".join(event.delta for event in self.events if event.type == kind and event.response_id == response_id)


def library(server: Rehearsal, api_key: str = "secret") -> AsyncOpenAI:
    return AsyncOpenAI(api_key=api_key, websocket_base_url=server.url("openai").removesuffix("/realtime"))


async def test_a_whole_conversation(server: Rehearsal) -> None:
    async with library(server) as openai, openai.realtime.connect(model="gpt-realtime") as connection:
        caller = Caller(connection)
        assert (await caller.until("session.created")).session.model == "gpt-realtime"
        transcription = {"model": "gpt-4o-mini-transcribe"}
        await connection.session.update(
            session={
                "type": "realtime",
                "instructions": "Answer briefly.",
                "output_modalities": ["audio"],
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "transcription": transcription,  # type: ignore[typeddict-item]
                        "turn_detection": {"type": "server_vad", "silence_duration_ms": 400},
                    },
                    "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "cedar"},
                },
            }
        )
        session = (await caller.until("session.updated")).session
        assert session.audio.output.voice == "cedar"
        assert session.audio.input.turn_detection.silence_duration_ms == 400
        assert session.audio.input.turn_detection.threshold == 0.5

        await caller.speak(spoken("what time is it"))
        done = (await caller.until("response.done")).response
        assert done.status == "completed"
        [completed] = [e for e in caller.events if e.type == "conversation.item.input_audio_transcription.completed"]
        assert completed.transcript == "what time is it"
        said = caller.text_of("response.output_audio_transcript.delta", done.id)
        assert said.startswith("It is ")
        assert done.output[0].content[0].transcript == said
        pcm = b"".join(base64.b64decode(event.delta) for event in caller.events if event.type == "response.output_audio.delta")
        assert dbfs(np.frombuffer(pcm, "<i2")) > -30

        await caller.speak(spoken("tell me a long story"))
        for _ in range(15):
            first = await caller.until("response.output_audio.delta")
        await connection.response.cancel()
        done = (await caller.until("response.done")).response
        assert (done.status, done.status_details.reason) == ("cancelled", "client_cancelled")
        await connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=1000)
        truncated = await caller.until("conversation.item.truncated")
        assert (truncated.item_id, truncated.audio_end_ms) == (first.item_id, 1000)

        await connection.response.create(response={"instructions": "Say exactly: Goodbye.", "conversation": "none"})
        done = (await caller.until("response.done")).response
        assert done.output[0].content[0].transcript == "Goodbye."
    assert server.sessions[0].heard == ["what time is it", "tell me a long story"]
    assert {type(event) for event in caller.events} <= set(EVENT_TYPES.values()), "the library did not know an event"


async def test_every_event_is_what_the_library_says_it_is(server: Rehearsal) -> None:
    async with library(server) as openai, openai.realtime.connect(model="gpt-realtime") as connection:
        caller = Caller(connection)
        await connection.session.update(session={"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}})
        await caller.until("session.updated")
        await caller.speak(spoken("what time is it"))
        await caller.until("response.done")
        await connection.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}},
                "tools": [{"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}}],
                "tool_choice": {"type": "function", "name": "f"},
                "max_output_tokens": 100,
                "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
            }
        )
        await caller.until("session.updated")
        await caller.speak(spoken("tell me a long story"))
        first = await caller.until("response.output_audio.delta")
        await caller.speak(spoken("stop"))
        await caller.until("response.done")
        await caller.until("response.done")
        await connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=50)
        await connection.conversation.item.retrieve(item_id=first.item_id)
        await connection.conversation.item.delete(item_id=first.item_id)
        for item in (
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "what time is it"}]},
            {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "It is late."}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]},
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "{}"},
        ):
            await connection.conversation.item.create(item=item)  # type: ignore[arg-type]
        await connection.response.create(response={"output_modalities": ["text"], "metadata": {"why": "tool"}})
        await caller.until("response.done")
        await connection.input_audio_buffer.clear()
        await connection.response.cancel()
        await caller.until("error")
        await connection.session.update(
            session={"type": "realtime", "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}}
        )
        await caller.until("session.updated")
    sent = server.sessions[0].events
    assert {event["type"] for event in sent} == SENDS
    for event in sent:
        assert list(mismatches(event)) == [], event


async def test_a_tool_is_called_and_answered_in_terms_of_the_library(server: Rehearsal) -> None:
    parameters = {"type": "object", "properties": {"seconds": {"type": "number"}}}
    async with library(server) as openai, openai.realtime.connect(model="gpt-realtime") as connection:
        caller = Caller(connection)
        tool: Any = {"type": "function", "name": "set_timer", "description": "d", "parameters": parameters}
        await connection.session.update(session={"type": "realtime", "tools": [tool]})
        await caller.until("session.updated")
        await caller.speak(spoken("set a timer for ten seconds"))
        done = (await caller.until("response.done")).response
        call = done.output[1]
        assert (call.type, call.name, call.arguments, call.status) == ("function_call", "set_timer", '{"seconds": 10}', "completed")
        pieces = [event.delta for event in caller.events if event.type == "response.function_call_arguments.delta"]
        assert "".join(pieces) == call.arguments
        item: Any = {"type": "function_call_output", "call_id": call.call_id, "output": '{"timer": 1}'}
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        told = (await caller.until("response.done")).response
        assert told.output[0].content[0].transcript == "Done: timer 1."
    sent = server.sessions[0].events
    assert {event["type"] for event in sent} - SENDS == CALLS
    for event in sent:
        assert list(mismatches(event)) == [], event


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ({"failed_reply": True, "error_code": "insufficient_quota"}, "response.done"),
        ({"incomplete_reply": True}, "response.done"),
        ({"transcription_fails": True}, TRANSCRIPT_FAILED),
        ({"error_mid_reply": True, "error_code": "rate_limit_exceeded"}, "error"),
        ({"expire_s": 1.0}, "error"),
    ],
    ids=str,
)
async def test_what_fails_fails_in_terms_of_the_library(faults: dict[str, Any], kind: str) -> None:
    async with misbehaving(**faults) as server, library(server) as openai:
        async with openai.realtime.connect(model="gpt-realtime") as connection:
            caller = Caller(connection)
            audio: Any = {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}
            await connection.session.update(session={"type": "realtime", "audio": audio})
            await caller.speak(spoken("what time is it"))
            await caller.until(kind)
        for event in server.sessions[0].events:
            assert list(mismatches(event)) == [], event


async def test_a_wrong_key_is_refused_in_terms_of_the_library(server: Rehearsal) -> None:
    from websockets.exceptions import InvalidStatus

    async with asyncio.timeout(20), library(server, "wrong") as openai:
        with pytest.raises(InvalidStatus) as refused:
            await openai.realtime.connect(model="gpt-realtime", max_retries=0).enter()
    assert refused.value.response.status_code == 401


def mismatches(event: dict[str, Any]) -> Iterator[str]:
    """Say where an event is not what the library declares: wrong types raise, undeclared fields are named."""
    kind = EVENT_TYPES[event["type"]]
    yield from undeclared(TypeAdapter(kind).validate_python(event, strict=True))


def undeclared(value: Any) -> Iterator[str]:
    if isinstance(value, BaseModel):
        name = type(value).__name__
        yield from (f"{name}.{field}" for field in value.model_extra or {} if (name, field) not in UNDECLARED)
        for field in type(value).model_fields:
            yield from undeclared(getattr(value, field))
    elif isinstance(value, list):
        for entry in value:
            yield from undeclared(entry)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_audio.delta", "event_id": "e", "delta": "AAAA"},
        {"type": "input_audio_buffer.committed", "event_id": "e", "item_id": 5},
    ],
)
def test_the_judge_refuses_what_is_wrong(event: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        list(mismatches(event))


def test_the_judge_names_what_is_undeclared() -> None:
    event = {"type": "error", "event_id": "e", "error": {"type": "t", "message": "m", "colour": "red"}}
    assert list(mismatches(event)) == ["RealtimeError.colour"]
