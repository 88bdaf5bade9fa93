"""Microsoft's own client for Azure Voice Live talks to the rehearsal: the judge of the protocol's older version.

Azure Voice Live is no provider of its own in Pipit; `realtime-beta` speaks what it speaks. Its client knows every event by a
class, so an event of the older version that the rehearsal got wrong is seen here.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from azure.ai.voicelive.aio import VoiceLiveConnection, connect
from azure.ai.voicelive.models import (
    AudioInputTranscriptionOptions,
    FunctionCallOutputItem,
    FunctionTool,
    InputAudioFormat,
    Modality,
    OpenAIVoice,
    OutputAudioFormat,
    RequestSession,
    ServerEvent,
    ServerEventType,
    ServerVad,
)
from azure.core.credentials import AzureKeyCredential

from pipit.core import g711
from pipit.core.pcm import dbfs
from pipit.rehearsal import Rehearsal
from pipit.services import Opening
from tests import speech
from tests.rehearsal.client import RATE_HZ, spoken
from tests.rehearsal.talk import TIMER, codec_for, misbehaving

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

KNOWN = {kind.value for kind in ServerEventType}
SPOKEN = [Modality.TEXT, Modality.AUDIO]


class Caller:
    """A conversation through the client; keeps the events."""

    def __init__(self, connection: VoiceLiveConnection) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def until(self, kind: str) -> Any:
        async with asyncio.timeout(15):
            while True:
                event = await self.connection.recv()
                assert type(event) is not ServerEvent, f"the client does not know {event}"
                self.events.append(event)
                if event.type == kind:
                    return event

    async def speak(self, samples: np.ndarray) -> None:
        for start in range(0, len(samples), RATE_HZ // 10):
            block = samples[start : start + RATE_HZ // 10].tobytes()
            await self.connection.input_audio_buffer.append(audio=base64.b64encode(block).decode())

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]


@asynccontextmanager
async def calling(server: Rehearsal) -> AsyncIterator[Caller]:
    endpoint = f"{server.http}/realtime-beta"
    async with connect(credential=AzureKeyCredential("secret"), endpoint=endpoint, model="gpt-realtime") as connection:
        yield Caller(connection)


async def test_a_whole_conversation() -> None:
    async with asyncio.timeout(60), misbehaving(flood=False) as server, calling(server) as caller:
        await caller.until("session.created")
        tool = FunctionTool(name=TIMER.name, description=TIMER.description, parameters=dict(TIMER.parameters))
        session = RequestSession(
            modalities=SPOKEN,
            instructions="Be brief.",
            voice=OpenAIVoice(name="alloy"),
            input_audio_format=InputAudioFormat.PCM16,
            output_audio_format=OutputAudioFormat.PCM16,
            input_audio_transcription=AudioInputTranscriptionOptions(model="whisper-1", language="en"),
            turn_detection=ServerVad(threshold=0.5, prefix_padding_ms=300, silence_duration_ms=500, create_response=True),
            tools=[tool],
            temperature=0.7,
        )
        await caller.connection.session.update(session=session)
        assert (await caller.until("session.updated")).session.instructions == "Be brief."
        await caller.speak(spoken("what time is it"))
        heard = await caller.until("conversation.item.input_audio_transcription.completed")
        assert heard.transcript == "what time is it"
        assert (await caller.until("response.done")).response.status == "completed"
        assert "".join(event.delta for event in caller.of("response.audio_transcript.delta")).startswith("It is")
        assert dbfs(np.frombuffer(b"".join(event.delta for event in caller.of("response.audio.delta")), "<i2")) > -30

        await caller.speak(spoken("set a timer for ten seconds"))
        call = await caller.until("response.function_call_arguments.done")
        assert (call.name, json.loads(call.arguments)) == ("set_timer", {"seconds": 10})
        await caller.until("response.done")
        result = FunctionCallOutputItem(call_id=call.call_id, output='{"timer": 1}')
        await caller.connection.conversation.item.create(item=result)
        await caller.connection.response.create()
        await caller.until("response.done")
        assert caller.of("response.audio_transcript.done")[-1].transcript == "Done: timer 1."

        await caller.speak(spoken("tell me a long story"))
        first = await caller.until("response.audio.delta")
        await caller.until("response.audio.delta")
        await caller.connection.response.cancel()
        assert (await caller.until("response.done")).response.status == "cancelled"
        await caller.connection.conversation.item.truncate(item_id=first.item_id, content_index=0, audio_end_ms=100)
        assert (await caller.until("conversation.item.truncated")).audio_end_ms == 100
        await caller.connection.input_audio_buffer.clear()
        await caller.until("input_audio_buffer.cleared")
        assert not caller.of("error")
    assert {event["type"] for event in server.sessions[0].events} - KNOWN <= {"rate_limits.updated"}


async def test_sound_in_telephone_quality_under_its_older_name() -> None:
    async with asyncio.timeout(60), misbehaving() as server, calling(server) as caller:
        session = RequestSession(
            modalities=SPOKEN, input_audio_format=InputAudioFormat.G711_ULAW, output_audio_format=OutputAudioFormat.G711_ALAW
        )
        await caller.connection.session.update(session=session)
        shown = (await caller.until("session.updated")).session
        assert (shown.input_audio_format, shown.output_audio_format) == ("g711_ulaw", "g711_alaw")
        await caller.connection.response.create(additional_instructions="Say: Goodbye.")
        await caller.until("error")
        await caller.connection.send({"type": "response.create", "response": {"instructions": "Say: Goodbye."}})
        await caller.until("response.done")
        sound = g711.decode(b"".join(event.delta for event in caller.of("response.audio.delta")), "pcma")
    assert 0.4 < len(sound) / 2 / g711.RATE_HZ < 2
    assert dbfs(np.frombuffer(sound, "<i2")) > -30


async def test_what_the_daemon_sends_is_what_the_client_sends() -> None:
    async with misbehaving() as server:
        detection = {"type": "server_vad", "threshold": 0.5, "create_response": True}
        codec = codec_for(server, "realtime-beta", Opening((TIMER,)), voice="alloy", turn_detection=detection)
        [hello] = [json.loads(message) for message in codec.hello()]
    fields = {getattr(field, "_rest_name", name) for name, field in RequestSession._attr_to_rest_field.items()}
    assert hello["session"].keys() <= fields
    assert hello["session"]["turn_detection"].keys() <= ServerVad._attr_to_rest_field.keys()
    [tool] = hello["session"]["tools"]
    assert tool == FunctionTool(name=TIMER.name, description=TIMER.description, parameters=dict(TIMER.parameters)).as_dict()
