"""The language model over real sockets: the rehearsal's chat/completions, in every shape and with every fault."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from pipit.core.options import Secret
from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from pipit.rehearsal.agent import Chat
from pipit.services.cascade import Agent, Call, Item, Result, StageError, Text, User
from pipit.services.cascade.chat_think import ChatThink, build
from pipit.services.cascade.settings import Settings, ThinkSettings
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

NOON = datetime(2026, 11, 20, 12, 0)
VOLUME = Declaration("set_volume", "Sets the volume.", {"type": "object", "properties": {"level": {"type": "integer"}}})
LOUDER = User('Set the volume to {"level": 30}')


@contextlib.asynccontextmanager
async def serving(chat: Chat = Chat(), key: str | None = "secret-key", **faults: Any) -> AsyncIterator[tuple[Rehearsal, ChatThink]]:  # noqa: B008
    conduct = Conduct(api_key="secret-key", think_s=0.0, chat=chat)
    async with asyncio.timeout(30), Rehearsal(misbehave=Misbehaviour(**faults), conduct=conduct, now=lambda: NOON) as server:
        think = ThinkSettings(url=f"{server.http}/v1", api_key=Secret(key) if key else None, model="m")
        stage = build(Settings(think=think, instructions="Be brief.", connect_s=1.0, read_s=1.0))
        assert isinstance(stage, ChatThink)
        try:
            yield server, stage
        finally:
            await stage.release()


async def asked(stage: ChatThink, *items: Item, tools: tuple[Declaration, ...] = ()) -> tuple[str, list[Call]]:
    parts = [part async for part in stage.think(items, tools)]
    return "".join(part.text for part in parts if isinstance(part, Text)), [part for part in parts if isinstance(part, Call)]


async def test_an_answer() -> None:
    async with serving() as (server, stage):
        await stage.open()
        words, calls = await asked(stage, User("what time is it"))
        assert words.startswith("It is twelve")
        assert calls == []
        assert server.connections == 1
        exchange = server.exchanges[0]
        assert exchange.asked["stream"] is True
        assert [message["role"] for message in exchange.asked["messages"]] == ["system", "user"]
        assert exchange.headers["authorization"] == "Bearer secret-key"


@pytest.mark.parametrize("shape", ["pieces", "whole", "object", "unindexed", "unnamed", "repeated", "stopped"])
async def test_a_call_in_each_shape_and_the_answer_to_its_result(shape: Any) -> None:
    async with serving(Chat(calls=shape)) as (_, stage):
        words, [call] = await asked(stage, LOUDER, tools=(VOLUME,))
        assert (words, call.name, json.loads(call.arguments)) == ("", "set_volume", {"level": 30})
        assert call.id
        words, _ = await asked(stage, LOUDER, Agent("", (call,)), Result(call.id, '{"level": 30}'), tools=(VOLUME,))
        assert words.startswith("The answer is")


@pytest.mark.parametrize("reasoning", ["reasoning_content", "reasoning", "tags"])
async def test_reasoning_is_left_out(reasoning: Any) -> None:
    async with serving(Chat(reasoning=reasoning, comments=True, done=False, stream_options=False)) as (_, stage):
        words, _ = await asked(stage, User("goodbye"))
        assert words in ("Goodbye.", "See you soon.")


async def test_closing_it_ends_the_request() -> None:
    async with serving(stall_mid_reply=True) as (server, stage):
        parts = stage.think([User("tell me a story")], ())
        assert isinstance(await anext(parts), Text)
        await parts.aclose()
        while not server.exchanges or server.exchanges[0].finished or server.exchanges[0].sent_bytes == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert not server.exchanges[0].finished


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ({"refuse_key": True}, "config", r"refused the key: HTTP 401.*check service\.think\.api_key"),
        ({"refuse_upgrade": 404}, "config", r"HTTP 404.*service\.think\.url"),
        ({"refuse_upgrade": 429}, "config", "the account's limit at 127.0.0.1 is reached"),
        ({"refuse_upgrade": 503}, "retryable", "in trouble: HTTP 503"),
        ({"refuse_upgrade": 400}, "config", "refused the request"),
        ({"stall_after_accept": True}, "retryable", "did not answer within 1 s"),
        ({"stall_at_ready": True}, "retryable", "did not answer within 1 s"),
        ({"stall_mid_reply": True}, "retryable", "did not answer within 1 s"),
        ({"drop_mid_reply": True}, "retryable", "127.0.0.1"),
        ({"cut_mid_reply": True}, "retryable", "127.0.0.1|broke off"),
        ({"error_mid_reply": True}, "retryable", "failed in the middle"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_each_fault_is_told(fault: dict[str, Any], kind: str, words: str) -> None:
    async with serving(**fault) as (_, stage):
        with pytest.raises(StageError, match=words) as error:
            await asked(stage, User("tell me a story"))
        assert error.value.kind == kind
        assert "secret-key" not in str(error.value)


@pytest.mark.parametrize("fault", ["rubbish_text", "malformed_json", "unknown_events", "odd_bytes"])
async def test_what_is_strewn_in_is_passed_over(fault: str) -> None:
    faults: dict[str, Any] = {fault: True}
    async with serving(**faults) as (_, stage):
        assert (await asked(stage, User("what time is it")))[0].startswith("It is twelve")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def chunk(**delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[ChatThink]:
    """Answer any request, and leave the connection open."""
    left = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + answer)
        await left.wait()
        writer.close()

    async with asyncio.timeout(30), await asyncio.start_server(handler, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        think = ThinkSettings(url=f"http://127.0.0.1:{port}/v1", model="m")
        yield ChatThink(think, "Be brief.", connect_s=5.0, read_s=5.0)
        left.set()


async def test_an_answer_ends_where_the_server_says_so_and_not_when_it_hangs_up() -> None:
    async with answering(chunk(content="Hello.") + b"data: [DONE]\n\n") as stage:
        assert await asked(stage, User("hello")) == ("Hello.", [])


async def test_a_long_line_is_read() -> None:
    details = [{"type": "reasoning.encrypted", "data": "A" * 100_000}]
    lines = chunk(content="Hello.") + chunk(reasoning_details=details) + chunk(content=" You.") + b"data: [DONE]\n\n"
    async with answering(lines) as stage:
        assert await asked(stage, User("hello")) == ("Hello. You.", [])


async def test_nobody_is_there() -> None:
    stage = build(Settings(think=ThinkSettings(url="http://127.0.0.1:9/v1")))
    with pytest.raises(StageError, match=r"127\.0\.0\.1 cannot be reached") as error:
        await stage.open()
    assert error.value.kind == "retryable"


@pytest.mark.parametrize(
    ("think", "problem"),
    [
        (ThinkSettings(), "service.think.api_key: OpenAI needs a key"),
        (ThinkSettings(url="ftp://h/"), "service.think.url: begins with ftp://, must be https:// or http://"),
        (ThinkSettings(url="nonsense"), "service.think.url: this is no address"),
        (ThinkSettings(url="http://h:x/"), "service.think.url: this is no address"),
        (ThinkSettings(url="http://192.168.1.5:11434/v1"), "service.think.url: http:// is not encrypted on the way to 192.168.1.5"),
        (ThinkSettings(url="https://h/v1", api_key=Secret("a b")), "service.think.api_key: the key is empty, or holds a blank"),
    ],
)
def test_settings_that_cannot_work(think: ThinkSettings, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Settings(think=think))
    assert error.value.problems[0].startswith(problem)


def test_a_server_at_home_needs_no_key() -> None:
    build(Settings(think=ThinkSettings(url="http://192.168.1.5:11434/v1"), insecure=True))
