"""Alibaba's own client for Qwen-Omni (package dashscope) talks to the rehearsal, and is held against what the daemon sends."""

from __future__ import annotations

import asyncio
import base64
import json
import queue
import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dashscope.audio.qwen_omni import (
    AudioFormatConfig,
    AudioSampleRate,
    MultiModality,
    OmniRealtimeCallback,
    OmniRealtimeConversation,
)

from pipit.core.pcm import dbfs
from pipit.rehearsal import Rehearsal
from pipit.services import Opening
from tests import speech
from tests.rehearsal.client import spoken
from tests.rehearsal.talk import TIMER, codec_for, misbehaving

pytestmark = [
    pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools())),
    pytest.mark.wall_clock,  # its client is threads
]

Event = dict[str, Any]
SPOKEN = [MultiModality.TEXT, MultiModality.AUDIO]
PATIENCE_S = 15.0
QUESTION = speech.timeline([(0.3, speech.say("what time is it", rate_hz=16000))], 3.0, 16000, -55)
STORY = speech.timeline([(0.3, speech.say("tell me a long story", rate_hz=16000))], 3.0, 16000, -55)


class Listener(OmniRealtimeCallback):  # type: ignore[misc]  # the package has no types
    """Keeps the events, which come in the client's own thread."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.closed: list[int | None] = []
        self._new: queue.Queue[Event] = queue.Queue()

    def on_event(self, message: Event) -> None:
        self._new.put(message)

    def on_close(self, close_status_code: int | None, close_msg: str | None) -> None:
        self.closed.append(close_status_code)

    def until(self, kind: str) -> Event:
        while True:
            event = self._new.get(timeout=PATIENCE_S)
            self.events.append(event)
            if event["type"] == kind:
                return event

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]


def connected(server: Rehearsal) -> tuple[OmniRealtimeConversation, Listener]:
    heard = Listener()
    client = OmniRealtimeConversation("qwen3.5-omni-plus-realtime", heard, url=server.url("qwen"), api_key="secret")
    client.connect()
    heard.until("session.created")
    return client, heard


def speak(client: OmniRealtimeConversation, samples: np.ndarray) -> None:
    for start in range(0, len(samples), 1600):
        client.append_audio(base64.b64encode(samples[start : start + 1600].tobytes()).decode())


async def held(conversation: Callable[[Rehearsal], OmniRealtimeConversation]) -> Rehearsal:
    """Hold a conversation in a thread, as the client wants it."""
    async with asyncio.timeout(60), misbehaving(flood=False) as server:
        client = await asyncio.to_thread(conversation, server)
        # Its own `close` leaves its thread to notice within ten seconds, and the socket open: hang up below it.
        websocket = client.ws.sock
        websocket.sock.shutdown(socket.SHUT_RDWR)
        await asyncio.to_thread(client.thread.join)
        websocket.shutdown()
    return server


def a_conversation(server: Rehearsal) -> OmniRealtimeConversation:
    client, heard = connected(server)
    client.update_session(output_modalities=SPOKEN)
    shown = heard.until("session.updated")["session"]
    assert shown["modalities"] == ["audio", "text"]
    speak(client, QUESTION)
    asked = heard.until("conversation.item.input_audio_transcription.completed")
    assert asked["transcript"] == "what time is it"
    response = heard.until("response.done")["response"]
    assert (response["status"], client.get_last_response_id()) == ("completed", response["id"])
    assert client.get_last_first_audio_delay() is not None, "it has found the sound under the name that it knows"
    words = "".join(event["delta"] for event in heard.of("response.audio_transcript.delta"))
    assert words.startswith("It is")
    sound = np.frombuffer(b"".join(base64.b64decode(event["delta"]) for event in heard.of("response.audio.delta")), "<i2")
    assert 0.5 < len(sound) / 24000 < 4
    assert dbfs(sound) > -30
    speak(client, STORY)
    heard.until("response.audio.delta")
    client.cancel_response()
    assert heard.until("response.done")["response"]["status"] == "cancelled"
    client.create_response(instructions="Say: Goodbye.", output_modalities=SPOKEN)
    heard.until("response.done")
    assert heard.of("response.audio_transcript.done")[-1]["transcript"] == "Goodbye."
    client.create_response(instructions="Say: Goodbye.", output_modalities=[MultiModality.TEXT])
    heard.until("response.done")
    assert heard.of("response.text.done")[-1]["text"] == "Goodbye."
    client.clear_appended_audio()
    heard.until("input_audio_buffer.cleared")
    client.commit()
    assert heard.until("error")["error"]["code"] == "input_audio_buffer_commit_empty"
    client.end_session(timeout=10)
    assert [event["error"]["code"] for event in heard.of("error")] == ["input_audio_buffer_commit_empty"]
    return client


async def test_a_whole_conversation() -> None:
    server = await held(a_conversation)
    assert server.sessions[0].heard == ["what time is it", "tell me a long story"]


def its_newer_formats(server: Rehearsal) -> OmniRealtimeConversation:
    client, heard = connected(server)
    client.update_session(
        output_modalities=SPOKEN,
        voice="Cherry",
        input_audio_config=AudioFormatConfig(sample_rate=AudioSampleRate.SAMPLE_RATE_24K),
        output_audio_config=AudioFormatConfig(sample_rate=AudioSampleRate.SAMPLE_RATE_48K),
        input_audio_transcription_model="qwen3-asr-flash-realtime",
        turn_detection_type="semantic_vad",
        turn_detection_threshold=-0.2,
        instructions="Be brief.",
        smooth_output=True,
        enable_search=False,
    )
    assert heard.until("error")["error"]["param"].startswith("session.audio.input.turn_detection"), "no threshold there"
    client.update_session(
        output_modalities=SPOKEN,
        input_audio_config=AudioFormatConfig(sample_rate=AudioSampleRate.SAMPLE_RATE_24K),
        output_audio_config=AudioFormatConfig(sample_rate=AudioSampleRate.SAMPLE_RATE_48K),
        turn_detection_threshold=-0.2,
        smooth_output=True,
    )
    heard.until("session.updated")
    speak(client, spoken("what time is it"))
    assert heard.until("conversation.item.input_audio_transcription.completed")["transcript"] == "what time is it"
    heard.until("response.done")
    assert sum(len(base64.b64decode(event["delta"])) for event in heard.of("response.audio.delta")) / 2 / 48000 > 0.5
    client.update_session(output_modalities=SPOKEN, input_audio_config=AudioFormatConfig(type="wav"))
    assert heard.until("error")["error"]["param"] == "session.audio.input.format.type"
    return client


async def test_formats_that_it_has_had_for_a_while() -> None:
    server = await held(its_newer_formats)
    assert server.sessions[0].heard == ["what time is it"]


async def test_what_the_daemon_sends_is_what_the_client_sends_or_leaves_out() -> None:
    """Every field of the daemon's is one that the client has, too."""
    sent: list[Event] = []
    client = OmniRealtimeConversation("m", Listener(), url="ws://127.0.0.1:9", api_key="secret")
    client.send_raw = sent.append
    client._OmniRealtimeConversation__send_str = lambda data, enable_log=True: sent.append(json.loads(data))
    client.update_session(output_modalities=SPOKEN, instructions="Be brief.", tools=[])
    client.append_audio("AAAA")
    client.commit()
    client.create_response("Be brief.")
    client.cancel_response()
    client.create_item({"type": "function_call_output", "call_id": "c", "output": "{}"})
    theirs = {event["type"]: event for event in sent}
    async with misbehaving() as server:
        codec = codec_for(
            server, "qwen", Opening((TIMER,)), voice="Cherry", turn_detection={"type": "server_vad", "threshold": 0.5}
        )
        list(codec.hello())
        list(codec.receive('{"type": "session.created", "session": {"id": "s"}}'))
        messages = [*codec.to_send(), *codec.audio(bytes(4)), *codec.end_turn(), *codec.generate("Be brief.")]
        list(codec.receive('{"type": "response.created", "response": {"id": "r"}}'))
        messages += codec.interrupt("r", 100, by_service=False)
        ours = [json.loads(message) for message in messages]
    assert {"session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "response.create", "response.cancel"} <= {
        event["type"] for event in ours
    }
    for event in ours:
        assert event.keys() - theirs[event["type"]].keys() <= {"response_id"}, "which response is optional in the protocol"
    session = next(event["session"] for event in ours if event["type"] == "session.update")
    assert session.keys() <= theirs["session.update"]["session"].keys()
    assert session["modalities"] == theirs["session.update"]["session"]["modalities"]
    assert session["turn_detection"].keys() <= theirs["session.update"]["session"]["turn_detection"].keys()
