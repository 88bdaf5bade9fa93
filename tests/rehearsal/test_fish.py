"""Fish Audio's endpoints: its official client uses them, and what the client would not send is refused."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import wave
from collections.abc import AsyncIterator
from typing import Any

import fishaudio
import httpx
import msgpack
import numpy as np
import pytest
from fishaudio.types import FlushEvent, ReferenceAudio, TTSConfig
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pipit.core.pcm import dbfs
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

VOICE = "0123456789abcdef" * 2
PCM = TTSConfig(format="pcm", sample_rate=24000)


def wav(samples: np.ndarray, rate_hz: int = 16000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate_hz)
        writer.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def asking(text: str = "what time is it", rate_hz: int = 16000) -> bytes:
    clip = speech.say(text, voice="en-us", rate_hz=rate_hz)
    return wav(speech.timeline([(0.3, clip)], 0.8 + len(clip) / rate_hz, rate_hz, -55), rate_hz)


@contextlib.asynccontextmanager
async def served(**faults: Any) -> AsyncIterator[tuple[Rehearsal, fishaudio.AsyncFishAudio]]:
    conduct = Conduct(api_key="secret", think_s=0.0)
    async with (
        asyncio.timeout(30),
        Rehearsal(misbehave=Misbehaviour(**faults), conduct=conduct) as server,
        fishaudio.AsyncFishAudio(api_key="secret", base_url=server.http) as client,
    ):
        yield server, client


def sounds(pcm: bytes, rate_hz: int = 24000) -> float:
    """Return how long the sound is, if it is one."""
    samples = np.frombuffer(pcm, "<i2")
    assert dbfs(samples) > -40
    return len(samples) / rate_hz


# -- the official client -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [16000, 44100])
async def test_the_official_client_has_speech_transcribed(rate_hz: int) -> None:
    async with served() as (server, client):
        heard = await client.asr.transcribe(audio=asking(rate_hz=rate_hz), language="en")
        assert heard.text == "what time is it"
        assert [segment.text for segment in heard.segments] == [heard.text]
        quick = await client.asr.transcribe(audio=asking(), include_timestamps=False)
        assert (quick.text, quick.segments) == (heard.text, [])
        [first, _] = server.exchanges
        assert (first.protocol, first.status, first.asked["language"], first.finished) == ("asr", 200, "en", True)


async def test_silence_has_no_text() -> None:
    async with served() as (_, client):
        heard = await client.asr.transcribe(audio=wav(speech.noise(1.5, dbfs=-60)))
        assert (heard.text, heard.segments) == ("", [])


async def test_the_official_client_has_text_spoken() -> None:
    async with served() as (server, client):
        pcm = await client.tts.convert(text="It is four o'clock.", config=PCM, reference_id=VOICE, latency="balanced")
        assert 0.7 < sounds(pcm) < 4
        slow = await client.tts.convert(text="It is four o'clock.", config=PCM, speed=0.6)
        assert sounds(slow) > 1.3 * sounds(pcm)
        whole = await client.tts.convert(text="It is four o'clock.", format="wav")
        with wave.open(io.BytesIO(whole)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (44100, 1, 2)
        assert server.exchanges[0].headers["model"] == "s2-pro"
        assert server.exchanges[0].asked["reference_id"] == VOICE


async def test_a_sample_makes_another_voice() -> None:
    async with served() as (_, client):
        text = "It is four o'clock."
        plain = await client.tts.convert(text=text, config=PCM)
        sample = ReferenceAudio(audio=asking(), text="what time is it")
        cloned = await client.tts.convert(text=text, config=PCM, references=[sample])
        assert sounds(cloned) > 0.5
        assert cloned != plain


async def test_the_official_client_has_text_spoken_live() -> None:
    async def words() -> AsyncIterator[Any]:
        for word in ("It is", " four o'clock.", FlushEvent(), " And", " all is well."):
            yield word

    async with served() as (server, client):
        stream = client.tts.stream_websocket(words(), config=PCM, latency="balanced", reference_id=VOICE)
        pcm = b"".join([chunk async for chunk in stream])
        assert 1.5 < sounds(pcm) < 6
        [session] = server.sessions
        assert session.said == ["It is four o'clock.", " And all is well."]
        assert [message["event"] for message in session.messages] == ["start", "text", "text", "flush", "text", "text", "stop"]
        assert session.events[-1] == {"event": "finish", "reason": "stop"}


async def test_long_text_is_spoken_without_a_flush() -> None:
    async def words() -> AsyncIterator[str]:
        for _ in range(12):
            yield "one two three four five "

    async with served(flood=True) as (server, client):
        async for _ in client.tts.stream_websocket(words(), config=TTSConfig(format="pcm", sample_rate=8000, chunk_length=100)):
            pass
        assert [len(said) >= 100 for said in server.sessions[0].said] == [True, True, False]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, fishaudio.AuthenticationError),
        (402, fishaudio.APIError),
        (403, fishaudio.PermissionError),
        (404, fishaudio.NotFoundError),
        (429, fishaudio.RateLimitError),
        (503, fishaudio.ServerError),
    ],
)
async def test_the_official_client_understands_refusals(status: int, error: type[Exception]) -> None:
    async with served(refuse_upgrade=status) as (_, client):
        with pytest.raises(error) as refused:
            await client.asr.transcribe(audio=asking())
        assert refused.value.status == status  # type: ignore[attr-defined]
        with pytest.raises(error):
            await client.tts.convert(text="hello", config=PCM)


async def test_a_wrong_key_is_refused_everywhere() -> None:
    async with served() as (server, _), fishaudio.AsyncFishAudio(api_key="wrong", base_url=server.http) as client:
        with pytest.raises(fishaudio.AuthenticationError) as refused:
            await client.asr.transcribe(audio=asking())
        assert (refused.value.status, refused.value.message) == (401, "Invalid Token")
        with pytest.raises(InvalidStatus) as status:
            await connect(server.url("fish"), additional_headers={"Authorization": "Bearer wrong"})
        assert status.value.response.status_code == 401
        assert json.loads(status.value.response.body or b"") == {"message": "Invalid Token", "status": 401}


async def test_the_official_client_understands_a_failure_in_the_middle() -> None:
    async def words() -> AsyncIterator[str]:
        yield "one two three four five six seven eight nine ten."

    async with served(error_mid_reply=True) as (_, client):
        with pytest.raises(ExceptionGroup) as failed:  # of the library's own task group
            async for _ in client.tts.stream_websocket(words(), config=PCM):
                pass
        assert failed.group_contains(fishaudio.WebSocketError, match="ended with error")


# -- by hand -----------------------------------------------------------------------------------------------------------------------


async def post(server: Rehearsal, path: str, **request: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.http, headers={"Authorization": "Bearer secret"}) as client:
        return await client.post(path, **request)


def packed(data: Any) -> dict[str, Any]:
    return {"content": msgpack.packb(data), "headers": {"Content-Type": "application/msgpack"}}


async def test_a_form_is_taken_as_well() -> None:
    async with served() as (server, _):
        form = {"language": "en", "ignore_timestamps": "true"}
        answer = await post(server, "/v1/asr", files={"audio": ("a.wav", asking(), "audio/wav")}, data=form)
        assert (answer.status_code, answer.json()["text"], answer.json()["segments"]) == (200, "what time is it", [])
        assert server.exchanges[0].asked["ignore_timestamps"] is True


@pytest.mark.parametrize(
    ("path", "request_", "status", "field"),
    [
        ("/v1/asr", {"json": {"audio": "UklGRg=="}}, 415, None),
        ("/v1/asr", packed({"language": "en"}), 422, "audio"),
        ("/v1/asr", packed({"audio": "text"}), 422, "audio"),
        ("/v1/asr", packed({"audio": b"no wav"}), 400, None),
        ("/v1/asr", packed({"audio": wav(np.zeros(8000, np.int16))}), 400, None),  # half a second
        ("/v1/asr", {"content": b"\xc1", "headers": {"Content-Type": "application/msgpack"}}, 400, None),
        ("/v1/tts", packed({"format": "pcm"}), 422, "text"),
        ("/v1/tts", packed({"text": "x", "format": "flac"}), 422, "format"),
        ("/v1/tts", packed({"text": "x", "latency": "fast"}), 422, "latency"),
        ("/v1/tts", packed({"text": "x", "chunk_length": 50}), 422, "chunk_length"),
        ("/v1/tts", packed({"text": "x", "prosody": {"speed": 3}}), 422, "prosody.speed"),
        ("/v1/tts", packed({"text": "x", "references": [{"audio": b"x"}]}), 422, "references[0].text"),
        ("/v1/tts", {"json": {"text": "x", "references": [{"audio": "eA==", "text": "x"}]}}, 422, "references[0].audio"),
        ("/v1/tts", packed({"text": "x", "format": "pcm", "sample_rate": 22050}), 400, None),
        ("/v1/tts", packed({"text": "x", "format": "pcm", "reference_id": "nobody"}), 400, None),
        ("/v1/tts", packed({"text": " ", "format": "pcm"}), 400, None),
        ("/v1/tts", {"content": b"{", "headers": {"Content-Type": "application/json"}}, 400, None),
        ("/v1/telephone", packed({}), 404, None),
    ],
)
async def test_what_the_service_would_refuse_is_refused(
    path: str, request_: dict[str, Any], status: int, field: str | None
) -> None:
    async with served() as (server, _):
        answer = await post(server, path, **request_)
        assert answer.status_code == status
        if status == 422:
            assert [problem["loc"] for problem in answer.json()] == [field]
        else:
            assert answer.json()["status"] == status


async def test_more_at_a_time_than_the_plan_has_are_refused() -> None:
    async with asyncio.timeout(30), Rehearsal(conduct=Conduct(concurrency=1)) as server, connect(server.url("fish")) as socket:
        for event in (START, {"event": "text", "text": "hello"}, {"event": "flush"}):
            await socket.send(msgpack.packb(event))
        await socket.recv()
        assert (await post(server, "/v1/asr", **packed({"audio": asking()}))).status_code == 429
        with pytest.raises(InvalidStatus) as refused:
            await connect(server.url("fish"))
        assert refused.value.response.status_code == 429


async def test_get_is_no_way_to_ask() -> None:
    async with served() as (server, _), httpx.AsyncClient(base_url=server.http) as client:
        assert (await client.get("/v1/asr")).status_code == 405


async def test_one_connection_takes_several_requests() -> None:
    async with served() as (server, client):
        for _ in range(2):
            await client.asr.transcribe(audio=asking())
        assert [exchange.connection for exchange in server.exchanges] == [1, 1]


# -- live, by hand -----------------------------------------------------------------------------------------------------------------

START = {"event": "start", "request": {"text": "", "format": "pcm", "sample_rate": 8000, "chunk_length": 200}}


@contextlib.asynccontextmanager
async def live(server: Rehearsal) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": "Bearer secret", "model": "s1"}
    async with connect(server.url("fish"), additional_headers=headers, compression=None) as socket:
        yield socket


async def say(socket: ClientConnection, *events: Any) -> list[Any]:
    """Send events; return what comes until the connection is closed."""
    answers: list[Any] = []
    with contextlib.suppress(ConnectionClosed):
        for event in events:
            await socket.send(msgpack.packb(event))
        while True:
            message = await socket.recv()
            answers.append(msgpack.unpackb(message) if isinstance(message, bytes) else message)
    return answers


@pytest.mark.parametrize(
    "events",
    [
        [{"event": "text", "text": "hello"}],
        [{"event": "stop"}],
        [START, START],
        [START, {"event": "text"}],
        [START, {"event": "close"}],
        [{"event": "start"}],
        [{"event": "start", "request": {"format": "flac"}}],
        [{"no": "event"}],
        [[]],
    ],
)
async def test_a_wrong_order_or_shape_ends_in_an_error(events: list[Any]) -> None:
    async with served() as (server, _), live(server) as socket:
        assert (await say(socket, *events))[-1] == {"event": "finish", "reason": "error"}


async def test_no_text_makes_no_sound() -> None:
    async with served() as (server, _), live(server) as socket:
        assert await say(socket, START, {"event": "flush"}, {"event": "stop"}) == [{"event": "finish", "reason": "stop"}]


async def test_odd_bytes_join_to_the_same_sound() -> None:
    whole = []
    for odd in (False, True):
        async with served(flood=True, odd_bytes=odd) as (server, _), live(server) as socket:
            text = {"event": "text", "text": "one two three four five six"}
            pieces = [event["audio"] for event in await say(socket, START, text, {"event": "stop"}) if event["event"] == "audio"]
            whole.append(b"".join(pieces))
    assert all(len(piece) % 2 for piece in pieces[:-1])
    assert whole[0] == whole[1]


async def test_closing_stops_the_speech() -> None:
    async with served() as (server, _), live(server) as socket:
        for event in (START, {"event": "text", "text": "one two three " * 40}, {"event": "stop"}):
            await socket.send(msgpack.packb(event))
        await socket.recv()
    assert server.sessions[0].closed is not None
    assert not server.sessions[0].of("finish")


@pytest.mark.parametrize("fault", ["rubbish_text", "rubbish_binary", "malformed_json", "unknown_events"])
async def test_rubbish_is_strewn_in(fault: str) -> None:
    async with served(flood=True, **{fault: True}) as (server, _), live(server) as socket:
        text = {"event": "text", "text": "one two three four five six seven eight"}
        for event in (START, text, {"event": "stop"}):
            await socket.send(msgpack.packb(event))
        received = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                received.append(await socket.recv())
        assert len(received) > len(server.sessions[0].events)


async def test_only_the_stage_that_is_named_suffers() -> None:
    async with served(stage="speak", refuse_upgrade=503) as (server, client):
        assert (await client.asr.transcribe(audio=asking())).text == "what time is it"
        with pytest.raises(fishaudio.ServerError):
            await client.tts.convert(text="x", config=PCM)
        with pytest.raises(InvalidStatus):
            await connect(server.url("fish"), additional_headers={"Authorization": "Bearer secret"})
        async with connect(server.url("openai"), additional_headers={"Authorization": "Bearer secret"}) as socket:
            assert json.loads(await socket.recv())["type"] == "session.created"


async def test_only_the_connections_in_the_middle_suffer() -> None:
    async with served(spared=1, sessions=1, refuse_upgrade=503) as (server, _):
        answers = [await post(server, "/v1/asr", **packed({"audio": asking()})) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 503, 200]
