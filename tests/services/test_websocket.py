"""The shell against real servers that behave, and against servers that do not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from pipit import __version__
from pipit.core.options import Secret
from pipit.services import (
    Ended,
    Event,
    Failed,
    Ready,
    ReplyDone,
    ReplyStarted,
    ToolCall,
    UserStopped,
    UserText,
    assemblyai,
    websocket,
)
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.openai_presets import PRESETS, Preset
from pipit.services.openai_realtime import OpenAIRealtime, Settings, build
from pipit.services.websocket import Deadlines, WebSocketSession

KEY = "sk-test-0123456789"
SHORT = Deadlines(connect_s=5, read_s=0.2, write_s=0.3, ping_s=5, close_s=0.4)
GENEROUS_S = 10
"""No test should take this long; one that hangs fails."""

TOO_LARGE = "localhost sent a message larger than Pipit accepts (16 MiB)"
NO_MESSAGE = "localhost sent something that is no WebSocket message"

Handler = Callable[[ServerConnection], Awaitable[None]]


@contextlib.asynccontextmanager
async def served(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """Run a WebSocket server on this host; yield its URL."""
    options.setdefault("compression", None)
    options.setdefault("close_timeout", 0.2)
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        scheme = "wss" if options.get("ssl") else "ws"
        yield f"{scheme}://localhost:{port}/v1/realtime"


@contextlib.asynccontextmanager
async def raw_server(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """Run a TCP server; yield a WebSocket URL for it."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await answer(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/realtime"


def session_to(url: str, deadlines: Deadlines = SHORT, *, tls: ssl.SSLContext | None = None, **options: Any) -> WebSocketSession:
    return WebSocketSession(OpenAIRealtime(Settings(api_key=Secret(KEY), url=url, **options)), deadlines, tls)


async def ready(connection: ServerConnection) -> None:
    """Take the session, as OpenAI does."""
    await connection.send(json.dumps({"type": "session.created", "session": {"id": "sess_1"}}))
    update = json.loads(await connection.recv())
    assert update["type"] == "session.update"
    await connection.send(json.dumps({"type": "session.updated", "session": {"id": "sess_1"}}))


async def said(connection: ServerConnection, kind: str) -> dict[str, Any]:
    """Wait for a message of a type."""
    async for message in connection:
        data: dict[str, Any] = json.loads(message)
        if data["type"] == kind:
            return data
    raise AssertionError(f"the client never sent {kind}")


async def forever(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def all_of(session: WebSocketSession) -> list[Event]:
    async with asyncio.timeout(GENEROUS_S):
        return [event async for event in session.events()]


async def last_of(session: WebSocketSession) -> Event:
    return (await all_of(session))[-1]


# -- when all is well -------------------------------------------------------------------------------------------------------------


async def test_a_conversation() -> None:
    heard: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        heard.append(await said(connection, "input_audio_buffer.append"))
        await said(connection, "response.create")
        await connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
        await connection.send(json.dumps({"type": "response.done", "response": {"id": "r", "status": "completed"}}))
        await connection.close(1000, "that is all")

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = session_to(url)
        events = []
        async for event in session.events():
            events.append(event)
            if isinstance(event, Ready):
                await session.audio(b"\x01\x00")
                await session.end_turn()
    assert heard == [{"type": "input_audio_buffer.append", "audio": "AQA="}]
    assert events == [Ready("sess_1"), ReplyStarted("r"), ReplyDone("r"), Ended("that is all")]


async def test_nothing_happens_before_iteration() -> None:
    connections = []

    async def handler(connection: ServerConnection) -> None:
        connections.append(connection)

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        threads = threading.active_count()
        session = build(Settings(url=url))()
        await session.audio(b"\0\0")
        await session.end_turn()
        await session.interrupt(None, 0, by_service=False)
        await session.tool_result("c", "x", is_error=False)
        await session.generate("x")
        await session.close()
        assert threading.active_count() == threads
        assert [event async for event in session.events()] == [Ended("closed before it began")]
    assert connections == []


async def test_the_request() -> None:
    seen: list[Headers] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.headers)

    async with served(handler) as url:
        await all_of(session_to(url))
    (headers,) = seen
    assert headers["User-Agent"] == f"pipit/{__version__}"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert "Sec-WebSocket-Extensions" not in headers


async def test_a_proxy_in_the_environment_is_not_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async with served(ready) as url:
        assert (await all_of(session_to(url)))[0] == Ready("sess_1")


async def test_a_greeting_is_asked_for_as_soon_as_the_session_is_ready() -> None:
    asked: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        asked.append(await said(connection, "response.create"))

    async with served(handler) as url:
        await all_of(session_to(url, greeting="Hello."))
    assert asked[0]["response"]["instructions"].endswith("nothing else: Hello.")


async def test_messages_keep_their_order_whoever_sends_them() -> None:
    seen: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        while len(seen) < 201:
            data = json.loads(await connection.recv())
            seen.append(data.get("audio") or data["type"])

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = session_to(url, turn_detection={"type": "none"})
        expected = []
        async for event in session.events():
            if isinstance(event, Ready):
                sent = [session.audio(struct.pack("<H", n)) for n in range(100)]
                sent += [session.end_turn()]
                sent += [session.audio(struct.pack("<H", n)) for n in range(100, 199)]
                await asyncio.gather(*sent)
                codec = OpenAIRealtime(Settings(url=url))
                sounds = [json.loads(codec.audio(struct.pack("<H", n))[0])["audio"] for n in range(199)]
                expected = [*sounds[:100], "input_audio_buffer.commit", "response.create", *sounds[100:]]
    assert seen == expected


async def test_everything_that_a_conversation_asks_for_is_sent() -> None:
    seen: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        call = {"type": "function_call", "call_id": "c", "name": "n", "arguments": "{}"}
        await connection.send(json.dumps({"type": "response.output_item.done", "response_id": "r", "item": call}))
        seen.append((await said(connection, "response.cancel"))["response_id"])
        await connection.send(json.dumps({"type": "response.done", "response": {"id": "r", "status": "cancelled"}}))
        seen.append((await said(connection, "conversation.item.create"))["item"]["output"])
        seen.append((await said(connection, "response.create"))["response"]["instructions"])

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = session_to(url, instructions="Be brief.")
        async for event in session.events():
            if isinstance(event, ToolCall):
                await session.interrupt("r", 0, by_service=False)
            if isinstance(event, ReplyDone):
                await session.tool_result("c", "19:02", is_error=False)
                await session.generate("Say bye.")
    assert seen == ["r", "19:02", "Be brief.\n\nSay bye."]


@pytest.mark.parametrize("service", [build, assemblyai.build])
async def test_building_for_the_real_service_needs_no_network(service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "socket")
    monkeypatch.delattr(socket, "getaddrinfo")
    settings = AssemblyAISettings(api_key=Secret(KEY)) if service is assemblyai.build else Settings(api_key=Secret(KEY))
    session = service(settings)()
    await session.close()
    assert [event async for event in session.events()] == [Ended("closed before it began")]


async def test_events_can_be_iterated_once() -> None:
    async with served(ready) as url:
        session = session_to(url)
        events = session.events()
        await anext(events)
        with pytest.raises(RuntimeError, match="iterated once"):
            await anext(session.events())
        await events.aclose()  # type: ignore[attr-defined]


# -- refused ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, "config", "refused the key: HTTP 401 (Key … is wrong); check service.api_key"),
        (403, "config", "refused the key: HTTP 403"),
        (404, "config", "knows no such address or model: HTTP 404"),
        (418, "config", "refused the request: HTTP 418"),
        (429, "retryable", "has had too many requests, or the account's limit is reached: HTTP 429"),
        (500, "retryable", "is in trouble: HTTP 500"),
        (503, "retryable", "is in trouble: HTTP 503"),
        (302, "config", "answered HTTP 302 where a WebSocket was expected"),
    ],
)
async def test_the_upgrade_is_refused(status: int, kind: str, words: str) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        body = json.dumps({"error": {"message": f"Key {KEY} is wrong", "code": "x"}}).encode()
        headers = Headers({"Content-Length": str(len(body)), "Location": "ws://example.com/"})
        return Response(status, HTTPStatus(status).phrase, headers, body)

    async with served(forever, process_request=refuse) as url:
        event = await last_of(session_to(url))
    assert isinstance(event, Failed)
    assert event.kind == kind
    assert event.reason.startswith(f"localhost {words}")
    assert KEY not in event.reason


async def test_a_server_that_is_no_websocket_server() -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await writer.drain()

    async with raw_server(answer) as url:
        assert await last_of(session_to(url)) == Failed(
            "config", "127.0.0.1 does not speak WebSocket at this address: check service.url"
        )


async def test_nothing_listens() -> None:
    async with raw_server(lambda r, w: asyncio.sleep(0)) as url:
        pass
    port = urlsplit(url).port
    refused = f"127.0.0.1 refused the connection: nothing listens on port {port}, see service.url"
    assert await last_of(session_to(url)) == Failed("retryable", refused)


async def test_the_name_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(websocket, "resolve", resolve)
    event = await last_of(session_to("ws://speaker.invalid:1/"))
    assert event == Failed("retryable", "the name speaker.invalid cannot be looked up: is the network up, is the name right?")


async def test_an_upgrade_without_an_answer() -> None:
    async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with raw_server(answer) as url:
        event = await last_of(session_to(url, Deadlines(connect_s=0.2)))
    assert event == Failed("retryable", "127.0.0.1 was not ready within 0.2 s: no answer to the WebSocket request")


async def test_a_name_server_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int) -> list[Any]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(websocket, "resolve", resolve)
    event = await last_of(session_to("ws://speaker.invalid:1/", Deadlines(connect_s=0.05)))
    assert event == Failed("retryable", "speaker.invalid was not ready within 0.05 s: the name is being looked up")


async def test_a_session_that_is_never_ready_for_a_codec_that_waits_to_be_greeted() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(json.dumps({"type": "session.created", "session": {"id": "s"}}))
        await said(connection, "session.update")
        await forever(connection)

    deadlines = Deadlines(connect_s=0.5, read_s=60, close_s=0.4)
    async with served(handler) as url:
        session = WebSocketSession(OpenAIRealtime(Settings(url=url), PRESETS["qwen"]), deadlines)
        words = "localhost was not ready within 0.5 s: the service took the connection but not the session"
        assert await all_of(session) == [Failed("retryable", words)]


async def test_a_session_that_is_never_ready() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(json.dumps({"type": "session.created", "session": {"id": "sess_1"}}))
        await forever(connection)

    async with served(handler) as url:
        event = await last_of(session_to(url, Deadlines(connect_s=0.2, close_s=0.2)))
    words = "localhost was not ready within 0.2 s: the service took the connection but not the session"
    assert event == Failed("retryable", words)


# -- silence ----------------------------------------------------------------------------------------------------------------------


async def test_silence_while_a_reply_is_due() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        await connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
        await forever(connection)

    async with served(handler) as url:
        assert await all_of(session_to(url)) == [
            Ready("sess_1"),
            ReplyStarted("r"),
            Failed("retryable", "localhost was silent for 0.2 s while a reply was due"),
        ]


@pytest.mark.parametrize("how", ["end_turn", "generate", "speech_stopped"])
async def test_silence_after_a_reply_was_asked_for(how: str) -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        if how == "speech_stopped":
            await connection.send(json.dumps({"type": "input_audio_buffer.speech_stopped"}))
        await forever(connection)

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = session_to(url)
        events: list[Event] = []
        async for event in session.events():
            events.append(event)
            if isinstance(event, Ready) and how != "speech_stopped":
                # Runs when the iterator already waits for the next message, without a deadline.
                asking = asyncio.create_task(session.end_turn() if how == "end_turn" else session.generate("x"))
        if how != "speech_stopped":
            await asking
    assert events[-1] == Failed("retryable", "localhost was silent for 0.2 s while a reply was due")


async def test_silence_while_nobody_waits_for_a_reply() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        for message in (
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.done", "response": {"id": "r", "status": "completed"}},
        ):
            await connection.send(json.dumps(message))
        await asyncio.sleep(3 * SHORT.read_s)  # the silence itself
        await connection.close(1000)

    async with served(handler) as url:
        assert (await all_of(session_to(url)))[-2:] == [ReplyDone("r"), Ended("")]


async def test_silence_while_the_person_talks_over_a_reply() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        await connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
        await connection.send(json.dumps({"type": "input_audio_buffer.speech_started"}))
        await said(connection, "response.cancel")
        await asyncio.sleep(3 * SHORT.read_s)  # the silence itself
        await connection.send(json.dumps({"type": "input_audio_buffer.speech_stopped"}))
        await forever(connection)

    async with served(handler) as url:
        codec = OpenAIRealtime(Settings(url=url), PRESETS["yandex"])
        events = await all_of(WebSocketSession(codec, SHORT))
    assert UserStopped() in events
    assert events[-1] == Failed("retryable", "localhost was silent for 0.2 s while a reply was due")


async def test_silence_after_a_short_interruption_that_the_conversation_hears_of_late() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        await connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
        await connection.send(json.dumps({"type": "input_audio_buffer.speech_started"}))
        await connection.send(json.dumps({"type": "input_audio_buffer.speech_stopped"}))
        await forever(connection)

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = session_to(url)
        async for event in session.events():
            if isinstance(event, UserStopped):
                telling = asyncio.create_task(session.interrupt("r", 100, by_service=True))
        await telling
    assert event == Failed("retryable", "localhost was silent for 0.2 s while a reply was due")


async def test_any_message_shows_that_the_service_lives() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        await connection.send(json.dumps({"type": "response.created", "response": {"id": "r"}}))
        for _ in range(8):
            await asyncio.sleep(0.1)  # less than the deadline each, more in sum
            await connection.send(json.dumps({"type": "rate_limits.updated"}))
        await connection.close(1000)

    async with served(handler) as url:
        assert await last_of(session_to(url, Deadlines(read_s=0.6))) == Ended("")


# -- the socket breaks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, Ended("why")),
        (1001, Failed("retryable", "OpenAI is going away, restarting or overloaded: code 1001 (why)")),
        (1008, Failed("config", "OpenAI refused the session (why): check service.api_key, then the rest of that section")),
        (1011, Failed("retryable", "OpenAI closed the connection: code 1011 (why)")),
        (4000, Failed("fatal", "OpenAI refused the protocol: why")),
    ],
)
async def test_the_service_closes(code: int, expected: Event) -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        await connection.close(code, "why")

    async with served(handler) as url:
        assert await all_of(session_to(url)) == [Ready("sess_1"), expected]


async def test_the_service_ends_the_session_in_words() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        await connection.send(json.dumps({"type": "error", "error": {"code": "insufficient_quota", "message": "no money"}}))
        await forever(connection)

    async with served(handler) as url:
        assert await last_of(session_to(url)) == Failed("fatal", "OpenAI: no money")


@pytest.mark.parametrize(
    ("frame", "kind", "words"),
    [
        (b"\x81\x7f" + struct.pack("!Q", 100_000_000) + b"x" * 1000, "fatal", TOO_LARGE),
        (b"\x81\x02\xff\xff", "retryable", NO_MESSAGE),
        (b"\x83\x02ab", "retryable", NO_MESSAGE),
        (b"\xff\xff\xff\xff", "retryable", NO_MESSAGE),
        (b"\x88\x01x", "retryable", NO_MESSAGE),
    ],
    ids=["100 MB", "not UTF-8", "reserved opcode", "noise", "close of one byte"],
)
async def test_broken_frames(frame: bytes, kind: str, words: str) -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        connection.transport.write(frame)
        await forever(connection)

    async with served(handler) as url:
        event = await last_of(session_to(url))
    assert isinstance(event, Failed)
    assert event.kind == kind
    assert event.reason.startswith(words)


async def test_a_large_message_in_small_fragments() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        piece = Frame(Opcode.CONT, b"x" * 2**20, fin=False).serialize(mask=False)
        connection.transport.write(Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=False) + piece * 17)
        await forever(connection)

    async with served(handler) as url:
        assert await last_of(session_to(url)) == Failed("fatal", TOO_LARGE)


async def test_the_connection_drops_in_the_middle_of_a_message() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        connection.transport.write(b"\x81\x7e\x03\xe8" + b"x" * 10)
        connection.transport.close()

    async with served(handler) as url:
        event = await last_of(session_to(url))
    assert isinstance(event, Failed)
    assert event.kind == "retryable"
    assert event.reason.startswith("the connection to localhost was lost")


async def test_rubbish_inside_good_frames_is_counted_and_survived() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        for rubbish in ("", "hello", b"\xff\x00", "[]", json.dumps({"type": 5}), json.dumps({"type": "news"})):
            await connection.send(rubbish)
        completed = "conversation.item.input_audio_transcription.completed"
        await connection.send(json.dumps({"type": completed, "item_id": "i", "transcript": "still here"}))
        await connection.close(1000)

    async with served(handler) as url:
        codec = OpenAIRealtime(Settings(url=url))
        assert await all_of(WebSocketSession(codec, SHORT)) == [
            Ready("sess_1"),
            UserText("still here", final=True, item="i"),
            Ended(""),
        ]
    assert (codec.malformed, codec.unknown) == (5, 1)


async def test_a_service_that_does_not_read() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        connection.transport.pause_reading()
        await forever(connection)

    async def flood(session: WebSocketSession) -> None:
        while True:
            await session.audio(bytes(2**20))
            await asyncio.sleep(0)

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = session_to(url)
        events: list[Event] = []
        async for event in session.events():
            events.append(event)
            if isinstance(event, Ready):
                flooding = asyncio.create_task(flood(session))
        flooding.cancel()
    assert events == [Ready("sess_1"), Failed("retryable", "localhost took nothing of what Pipit sent for 0.3 s")]


class Pinged(ServerConnection):
    """A server's end that counts pings."""

    pings = 0

    def process_event(self, event: Any) -> None:
        Pinged.pings += isinstance(event, Frame) and event.opcode is Opcode.PING
        super().process_event(event)


async def test_pings_are_ignored() -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        connection.transport.pause_reading()
        await forever(connection)

    async with served(handler) as url:
        event = await last_of(session_to(url, Deadlines(ping_s=0.1, close_s=0.2)))
    assert event == Failed("retryable", "localhost did not answer a ping: the connection is dead")


@pytest.mark.parametrize("answers", [True, False])
async def test_only_a_service_that_answers_is_pinged(answers: bool) -> None:
    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        await asyncio.sleep(0.2)  # ten intervals
        await connection.close(1000)

    Pinged.pings = 0
    async with served(handler, create_connection=Pinged) as url:
        codec = OpenAIRealtime(Settings(url=url), Preset(title="T", url="", model="m", ping=answers))
        assert await last_of(WebSocketSession(codec, Deadlines(ping_s=0.02))) == Ended("")
    assert (Pinged.pings > 0) is answers


# -- closing ----------------------------------------------------------------------------------------------------------------------


async def test_close_says_goodbye_and_lets_the_service_close() -> None:
    seen: list[Any] = []

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(json.dumps({"type": "session.ready", "session_id": "s_1"}))
        seen.append(await said(connection, "session.end"))
        await connection.close(1000)
        seen.append(connection.close_code)

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = WebSocketSession(AssemblyAI(AssemblyAISettings(url=url)), SHORT)
        events = []
        async for event in session.events():
            events.append(event)
            if isinstance(event, Ready):
                await asyncio.gather(session.close(), session.close())
                await session.audio(b"\0\0")
    assert seen == [{"type": "session.end"}, 1000]
    assert events == [Ready("s_1", "s_1"), Ended("closed here")]


async def test_a_session_that_was_asked_for_is_ended_even_before_it_is_ready() -> None:
    seen: list[str] = []
    asked = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        async for message in connection:
            seen.append(json.loads(message)["type"])
            asked.set()

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = WebSocketSession(AssemblyAI(AssemblyAISettings(url=url)), SHORT)
        events = asyncio.create_task(all_of(session))
        await asked.wait()
        await session.close()
        assert await events == [Ended("closed here")]
    assert seen == ["session.update", "session.end"]


@pytest.mark.parametrize("ended", [True, False], ids=["ended here", "dropped there"])
async def test_a_session_that_was_ended_here_cannot_be_taken_up_again(ended: bool) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(json.dumps({"type": "session.ready", "session_id": "s_1"}))
        await connection.send(json.dumps({"type": "reply.started", "reply_id": "r"}))
        if not ended:
            connection.transport.abort()
        await forever(connection)

    async with served(handler) as url:
        session = WebSocketSession(AssemblyAI(AssemblyAISettings(url=url)), SHORT)
        assert session.capabilities.resume_s > 0
        assert (await last_of(session)).kind == "retryable"  # type: ignore[attr-defined]
        assert (session.capabilities.resume_s > 0) is not ended


async def test_close_while_connecting() -> None:
    connected = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()

    async with asyncio.timeout(GENEROUS_S), raw_server(answer) as url:
        session = session_to(url, Deadlines(connect_s=GENEROUS_S))
        events = asyncio.create_task(all_of(session))
        await connected.wait()
        await session.close()
        assert await events == [Ended("closed here")]


async def test_close_before_the_session_is_ready() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        tasks.append(asyncio.create_task(sessions[0].close()))
        await forever(connection)

    tasks: list[asyncio.Task[None]] = []
    async with served(handler) as url:
        sessions = [session_to(url)]
        assert await all_of(sessions[0]) == [Ended("closed here")]


@pytest.mark.parametrize("blocked", [False, True], ids=["idle", "while writing is blocked"])
async def test_close_takes_a_second_at_most_when_nobody_answers(blocked: bool) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(json.dumps({"type": "session.ready", "session_id": "s_1"}))
        connection.transport.pause_reading()
        await forever(connection)

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = WebSocketSession(AssemblyAI(AssemblyAISettings(url=url)))
        events = session.events()
        assert await anext(events) == Ready("s_1", "s_1")
        writing = [asyncio.create_task(session.audio(bytes(2**22))) for _ in range(5 if blocked else 0)]
        await asyncio.sleep(0)
        async with asyncio.timeout(2):  # one second, and some for a busy machine
            await session.close()
        assert [event async for event in events] == [Ended("closed here")]
        await asyncio.gather(*writing)


async def test_closing_the_iterator_closes_the_socket() -> None:
    closed = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        await forever(connection)
        closed.set()

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        session = session_to(url)
        events = session.events()
        assert await anext(events) == Ready("sess_1")
        await events.aclose()  # type: ignore[attr-defined]
        await closed.wait()
        await session.audio(b"\0\0")


async def test_cancelling_the_reader_closes_the_socket() -> None:
    closed = asyncio.Event()
    opened = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await ready(connection)
        opened.set()
        await forever(connection)
        closed.set()

    async with asyncio.timeout(GENEROUS_S), served(handler) as url:
        reading = asyncio.create_task(all_of(session_to(url)))
        await opened.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await closed.wait()


# -- secrets ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["header", "url"])
async def test_the_key_is_never_written_anywhere(place: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(HTTPStatus.UNAUTHORIZED, json.dumps({"error": f"no: {KEY}"}))

    async with served(forever, process_request=refuse, logger=websocket._SILENT) as url:
        if place == "url":
            codec = OpenAIRealtime(Settings(url=f"{url}?api_key={KEY}"))
        else:
            codec = OpenAIRealtime(Settings(url=url, api_key=Secret(KEY)))
        session = WebSocketSession(codec, SHORT)
        event = await last_of(session)
    assert isinstance(event, Failed)
    assert event.reason == "localhost refused the key: HTTP 401 (no: …); check service.api_key"
    assert KEY not in caplog.text
    assert KEY not in "".join(map(repr, (session, codec, codec.request(), event)))


# -- TLS --------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with a key and a self-signed certificate for localhost."""
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    what = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", "req", *what, *name, "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_tls(certificate: Path) -> None:
    async with served(ready, ssl=server_tls(certificate)) as url:
        trusting = ssl.create_default_context(cafile=certificate)
        assert await all_of(session_to(url, tls=trusting)) == [Ready("sess_1"), Ended("")]


async def test_a_certificate_of_a_stranger(certificate: Path) -> None:
    async with served(ready, ssl=server_tls(certificate)) as url:
        event = await last_of(session_to(url))
    assert event == Failed("config", "localhost cannot be trusted: self-signed certificate: check service.url")


async def test_tls_with_a_server_that_does_not_speak_it() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    async with raw_server(answer) as url:
        event = await last_of(session_to(url.replace("ws:", "wss:")))
    words = "127.0.0.1 does not speak TLS (WRONG_VERSION_NUMBER): is service.url a ws:// address?"
    assert event == Failed("config", words)


async def test_a_server_that_hangs_up_during_the_tls_handshake() -> None:
    async def answer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with raw_server(answer) as url:
        event = await last_of(session_to(url.replace("ws:", "wss:")))
    assert isinstance(event, Failed)
    assert event.kind == "retryable"


# -- temporary tokens --------------------------------------------------------------------------------------------------------------


async def mint(answer: bytes, asked: list[bytes]) -> asyncio.Server:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()

    return await asyncio.start_server(connected, "127.0.0.1", 0)


def tokens_from(server: asyncio.Server, url: str) -> WebSocketSession:
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/token?expires_in_seconds=60"
    return WebSocketSession(AssemblyAI(AssemblyAISettings(api_key=Secret(KEY), url=url, token_url=address)), SHORT)


async def test_a_session_is_opened_with_a_temporary_token() -> None:
    asked: list[bytes] = []
    seen: list[str] = []

    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.extend([connection.request.path, connection.request.headers.get("Authorization", "none")])
        await connection.recv()
        await connection.send('{"type":"session.ready","session_id":"s_1"}')
        await connection.close()

    answer = b'HTTP/1.1 200 OK\r\n\r\n{"token":"t/1","expires_in_seconds":60}'
    async with asyncio.timeout(GENEROUS_S), await mint(answer, asked) as server, served(handler) as url:
        events = await all_of(tokens_from(server, url))
    assert events == [Ready("s_1", "s_1"), Ended("")]
    assert seen == ["/v1/realtime?token=t%2F1", "none"]
    assert b"Authorization: Bearer " + KEY.encode() in asked[0]


@pytest.mark.parametrize("where", ["upgrade", "error", "close"])
async def test_a_temporary_token_is_never_written_anywhere(where: str) -> None:
    token = "minted/0123456789"

    def refuse(_: ServerConnection, request: Request) -> Response | None:
        return Response(401, "No", Headers(), json.dumps({"message": request.path}).encode()) if where == "upgrade" else None

    async def handler(connection: ServerConnection) -> None:
        await connection.recv()
        if where == "error":
            await connection.send(json.dumps({"type": "session.error", "code": "unauthorized", "message": f"No {token} here."}))
        await connection.close(1008, f"Not {token}.")

    answer = f'HTTP/1.1 200 OK\r\n\r\n{{"token":"{token}"}}'.encode()
    async with asyncio.timeout(GENEROUS_S), await mint(answer, []) as server, served(handler, process_request=refuse) as url:
        (event,) = await all_of(tokens_from(server, url))
    assert isinstance(event, Failed)
    assert "…" in event.reason
    assert "minted" not in event.reason


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\n\r\n",
            "config",
            "127.0.0.1 gave no temporary token (HTTP 404): check service.token_url and the key",
        ),
        (
            b"HTTP/1.1 503 Busy\r\n\r\n",
            "retryable",
            "127.0.0.1 gave no temporary token (HTTP 503): check service.token_url and the key",
        ),
        (
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            "config",
            "127.0.0.1 gave no temporary token (HTTP 200): check service.token_url and the key",
        ),
        (b"", "retryable", "no temporary token: 127.0.0.1 did not answer in HTTP"),
    ],
)
async def test_no_temporary_token(answer: bytes, kind: str, words: str) -> None:
    async with asyncio.timeout(GENEROUS_S), await mint(answer, []) as server:
        assert await all_of(tokens_from(server, "ws://127.0.0.1:9/")) == [Failed(kind, words)]
