"""chat/completions and audio/transcriptions: OpenAI's own client uses them, and what the real service refuses is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from pipit.rehearsal.agent import Chat
from tests import speech
from tests.rehearsal.test_fish import asking, wav

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

MODEL = "rehearsal"
OPENAI = Chat()
NOON = datetime(2026, 11, 20, 12, 0)
VOLUME: Any = {
    "type": "function",
    "function": {
        "name": "set_volume",
        "description": "Sets the volume.",
        "parameters": {"type": "object", "properties": {"level": {"type": "integer"}}},
    },
}
TIMER: Any = {"type": "function", "function": {"name": "start_timer", "description": "Starts a timer.", "parameters": {}}}
LOUDER: Any = [{"role": "user", "content": 'Set the volume to {"level": 30}'}]


def asked(text: str) -> Any:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


@contextlib.asynccontextmanager
async def served(chat: Chat = OPENAI, **faults: Any) -> AsyncIterator[tuple[Rehearsal, openai.AsyncOpenAI]]:
    conduct = Conduct(api_key="secret", think_s=0.0, chat=chat)
    async with (
        asyncio.timeout(30),
        Rehearsal(misbehave=Misbehaviour(**faults), conduct=conduct, now=lambda: NOON) as server,
        openai.AsyncOpenAI(api_key="secret", base_url=f"{server.http}/v1", max_retries=0) as client,
    ):
        yield server, client


async def streamed(client: openai.AsyncOpenAI, messages: Any, **options: Any) -> list[ChatCompletionChunk]:
    stream = await client.chat.completions.create(model=MODEL, messages=messages, stream=True, **options)
    return [chunk async for chunk in stream]


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# -- the official client -----------------------------------------------------------------------------------------------------------


async def test_an_answer_comes_whole() -> None:
    async with served() as (server, client):
        answer = await client.chat.completions.create(model=MODEL, messages=asked("what time is it"))
        assert answer.choices[0].message.content == "It is twelve o'clock."
        assert answer.choices[0].finish_reason == "stop"
        assert (server.exchanges[0].protocol, server.exchanges[0].text) == ("completions", "It is twelve o'clock.")


async def test_an_answer_comes_word_by_word() -> None:
    async with served() as (_, client):
        chunks = await streamed(client, asked("what time is it"), stream_options={"include_usage": True})
        assert text_of(chunks) == "It is twelve o'clock."
        assert len(chunks) > 5
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert (chunks[-1].choices, chunks[-1].usage is not None) == ([], True)


async def test_wordings_change_with_the_conversation() -> None:
    async with served() as (_, client):
        history = [
            *asked("what time is it"),
            {"role": "assistant", "content": "Noon."},
            {"role": "user", "content": "what time is it"},
        ]
        assert text_of(await streamed(client, history)) == "The time is twelve o'clock."


async def test_what_the_system_says_last_is_obeyed() -> None:
    async with served() as (_, client):
        told = [*asked("hello"), {"role": "assistant", "content": "Hi."}, {"role": "system", "content": "Say: good morning."}]
        assert text_of(await streamed(client, told)) == "good morning."


async def test_a_tool_is_called_and_its_result_said() -> None:
    async with served() as (_, client):
        answer = await client.chat.completions.create(model=MODEL, messages=LOUDER, tools=[VOLUME, TIMER])
        [call] = answer.choices[0].message.tool_calls or []
        assert call.type == "function"
        assert (call.function.name, json.loads(call.function.arguments)) == ("set_volume", {"level": 30})
        assert answer.choices[0].finish_reason == "tool_calls"
        result = {"role": "tool", "tool_call_id": call.id, "content": '{"volume": 30}'}
        more = [*LOUDER, answer.choices[0].message.model_dump(exclude_none=True), result]
        assert text_of(await streamed(client, more, tools=[VOLUME])) == 'The answer is {"volume": 30}.'


async def test_two_tools_are_called_at_once() -> None:
    async with served() as (_, client):
        both: Any = [{"role": "user", "content": "timer and volume"}]
        chunks = await streamed(client, both, tools=[VOLUME, TIMER])
        names = {
            call.index: call.function.name
            for c in chunks
            for call in c.choices[0].delta.tool_calls or ()
            if call.id and call.function
        }
        assert names == {0: "set_volume", 1: "start_timer"}


@pytest.mark.parametrize("shape", ["pieces", "whole", "repeated", "stopped", "unnamed", "unindexed", "object"])
async def test_each_shape_of_a_call(shape: Any) -> None:
    async with served(Chat(calls=shape)) as (server, _):
        body = {"model": MODEL, "messages": LOUDER, "tools": [VOLUME], "stream": True}
        lines = (await post(server, "chat/completions", json=body)).text.splitlines()
        events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        calls = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", ())]
        written = [call["function"].get("arguments") for call in calls]
        assert len(calls) == 1 if shape in ("whole", "object", "unnamed") else len(calls) > 2
        assert (written == [{"level": 30}]) if shape == "object" else json.loads("".join(written)) == {"level": 30}
        assert all("index" in call for call in calls) == (shape != "unindexed")
        assert bool(calls[0]["id"]) == (shape != "unnamed")
        assert [call["function"].get("name") for call in calls].count("set_volume") == (len(calls) if shape == "repeated" else 1)
        assert events[-1]["choices"][0]["finish_reason"] == ("stop" if shape == "stopped" else "tool_calls")


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content", "tags"])
async def test_each_shape_of_reasoning(field: Any) -> None:
    async with served(Chat(reasoning=field, comments=True, done=False)) as (_, client):
        chunks = await streamed(client, asked("what time is it"))
        extra = "".join((chunk.choices[0].delta.model_extra or {}).get(field, "") for chunk in chunks)
        if field == "tags":
            assert text_of(chunks).startswith("<think>The user asks")
            assert text_of(chunks).endswith("</think>\n\nIt is twelve o'clock.")
        else:
            assert extra.startswith("The user asks")
            assert text_of(chunks) == "It is twelve o'clock."


async def test_closing_ends_the_answer() -> None:
    async with served() as (server, client):
        stream = await client.chat.completions.create(model=MODEL, messages=asked("tell me a story"), stream=True)
        async for _ in stream:
            break
        await stream.close()
        assert server.exchanges[0].status == 200


async def test_speech_is_transcribed() -> None:
    async with served() as (server, client):
        heard = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", asking()), language="en")
        assert heard.text == "what time is it"
        text: Any = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", asking()), response_format="text")
        assert text == "what time is it\n"
        long = await client.audio.transcriptions.create(model="m", file=("a.wav", asking()), response_format="verbose_json")
        assert (long.text, long.duration > 1) == ("what time is it", True)
        assert server.exchanges[0].asked["language"] == "en"


async def test_a_wrong_key_is_refused() -> None:
    async with served() as (server, _), openai.AsyncOpenAI(api_key="wrong", base_url=f"{server.http}/v1") as client:
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            await client.chat.completions.create(model=MODEL, messages=asked("hello"))


@pytest.mark.parametrize(("status", "error"), [(429, openai.RateLimitError), (500, openai.InternalServerError)])
async def test_the_official_client_understands_refusals(status: int, error: type[openai.APIStatusError]) -> None:
    async with served(refuse_upgrade=status) as (_, client):
        with pytest.raises(error):
            await streamed(client, asked("hello"))


async def test_the_official_client_understands_a_failure_in_the_middle() -> None:
    async with served(error_mid_reply=True) as (_, client):
        with pytest.raises(openai.APIError, match="had an error"):
            await streamed(client, asked("tell me a story"))


# -- by hand -----------------------------------------------------------------------------------------------------------------------


async def post(server: Rehearsal, path: str, **request: Any) -> httpx.Response:
    async with httpx.AsyncClient(headers={"Authorization": "Bearer secret"}) as client:
        return await client.post(f"{server.http}/v1/{path}", **request)


CALLS: Any = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
HELLO: Any = {"role": "user", "content": "hello"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [HELLO]}, "model"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"model": "m", "messages": [{"role": "user"}]}, "messages[0].content"),
        ({"model": "m", "messages": [HELLO], "colour": 1}, "colour"),
        ({"model": "m", "messages": [HELLO], "stream_options": {"include_usage": True}}, "stream_options"),
        ({"model": "m", "messages": [HELLO], "tool_choice": "auto"}, "tool_choice"),
        ({"model": "m", "messages": [HELLO], "tools": [{"type": "function", "name": "flat"}]}, "tools[0].name"),
        (
            {"model": "m", "messages": [HELLO], "tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools[0].function.name",
        ),
        ({"model": "m", "messages": [CALLS, HELLO]}, "messages.[1]"),
        ({"model": "m", "messages": [CALLS]}, "messages"),
        ({"model": "m", "messages": [HELLO, {"role": "tool", "tool_call_id": "c1", "content": "x"}]}, "messages.[1].role"),
        ({"model": "m", "messages": [{"role": "assistant", "content": None}]}, "messages.[0].content"),
    ],
)
async def test_what_the_service_would_refuse_is_refused(body: dict[str, Any], param: str) -> None:
    async with served() as (server, _):
        answer = await post(server, "chat/completions", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_small_server_does_not_know_stream_options() -> None:
    async with served(Chat(stream_options=False)) as (_, client):
        with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: stream_options"):
            await streamed(client, asked("hello"), stream_options={"include_usage": True})


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"json": {"file": "x"}}, "invalid_type"),
        ({"data": {"model": "m"}, "files": {"other": b"x"}}, "missing_required_parameter"),
        ({"data": {"language": "en"}, "files": {"file": b"x"}}, "missing_required_parameter"),
        ({"data": {"model": "m"}, "files": {"file": b"no wav"}}, "invalid_value"),
        ({"data": {"model": "m", "response_format": "pdf"}, "files": {"file": b"x"}}, "invalid_value"),
        ({"data": {"model": "m"}, "files": {"file": wav(speech.noise(0.05))}}, "audio_too_short"),
    ],
)
async def test_an_unusable_recording_is_refused(request_: dict[str, Any], code: str) -> None:
    async with served() as (server, _):
        answer = await post(server, "audio/transcriptions", **request_)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
