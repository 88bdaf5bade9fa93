"""The server as `pipit rehearse` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

from pipit.errors import ConfigError
from pipit.rehearsal import Misbehaviour, Rehearsal, serve
from pipit.rehearsal.server import PATHS
from tests import speech
from tests.rehearsal.client import Client, spoken

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))


class Lines:
    """Takes the lines; one can wait for one."""

    def __init__(self) -> None:
        self.all: list[str] = []
        self._news = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.all.append(line)
        self._news.set()

    async def until(self, start: str) -> str:
        while True:
            for line in self.all:
                if line.startswith(start):
                    return line
            self._news.clear()
            await self._news.wait()


async def test_it_says_where_it_listens_and_what_happens() -> None:
    lines = Lines()
    async with asyncio.timeout(20):
        running = asyncio.create_task(serve("127.0.0.1", 0, Misbehaviour(duplicate_events=True), say=lines))
        url = (await lines.until("openai: ")).removeprefix("openai: ")
        await lines.until("misbehaviour: duplicate-events")
        listed = [line.partition(":")[0] for line in lines.all if ": ws://" in line]
        assert sorted(listed) == sorted(set(PATHS.values()))
        assert any(line.startswith("assemblyai: ws://127.0.0.1:") and line.endswith("/v1/ws") for line in lines.all)
        async with Client(url, "openai") as client:
            await client.speak(spoken("what time is it"))
            await client.until("response.done")
        await lines.until("openai 1: closed with 1000")
        assert "openai 1: opened" in lines.all
        assert "openai 1: heard 'what time is it'" in lines.all
        assert any(line.startswith("openai 1: says ") for line in lines.all)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_port_that_is_taken_is_told() -> None:
    async with asyncio.timeout(20), Rehearsal() as server:
        with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{server.port}.*choose another"):
            await serve("127.0.0.1", server.port, None, say=lambda line: None)


@pytest.mark.parametrize(
    ("host", "port", "complaint"),
    [
        ("127.0.0.1", 99999, "--port 99999: there is no such port; choose one from 1 to 65535"),
        ("127.0.0.1", -1, "--port -1: there is no such port"),
        ("192.0.2.7", 0, "cannot listen at 192.0.2.7:0: .*choose another --host$"),  # a documentation address: RFC 5737
    ],
)
async def test_where_it_cannot_listen_is_told_with_what_to_change(host: str, port: int, complaint: str) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(ConfigError, match=complaint):
            await serve(host, port, None, say=lambda line: None)


async def test_without_pocketsphinx_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    async with asyncio.timeout(20):
        with pytest.raises(ConfigError, match="pocketsphinx"):
            await Rehearsal().__aenter__()


async def test_what_is_not_recorded_is_not_kept() -> None:
    async with asyncio.timeout(20), Rehearsal(record=False) as server:
        async with Client(server, "openai") as client:
            await client.speak(spoken("what time is it"))
            await client.until("response.done")
            [session] = server.sessions
        assert (session.messages, session.events, bytes(session.received)) == ([], [], b"")
    assert server.sessions == []


async def test_ending_it_closes_open_sessions() -> None:
    async with asyncio.timeout(20):
        async with Rehearsal() as server:
            client = await Client(server, "openai").__aenter__()
            await client.until("session.created")
        assert (await client.until_closed())[0] == 1001
    assert server.sessions[0].closed == (1001, "")


@pytest.mark.parametrize(
    "sent", [b"", b"GET /v1/realtime HTTP/1.1\r\n", b"POST /v1/asr HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"]
)
async def test_ending_it_closes_connections_that_have_not_asked_for_anything(sent: bytes) -> None:
    async with asyncio.timeout(20):
        async with Rehearsal() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(sent)
            await writer.drain()
            async with Client(server, "openai"):  # by then the server has seen the other
                pass
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_ending_it_closes_requests_that_are_never_answered() -> None:
    async with asyncio.timeout(20):
        async with Rehearsal(misbehave=Misbehaviour(stall_after_accept=True)) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"POST /v1/asr HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_what_is_no_http_is_hung_up_on() -> None:
    async with asyncio.timeout(20), Rehearsal() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"HELLO\r\n\r\n")
        assert await reader.read() == b""
        writer.close()
