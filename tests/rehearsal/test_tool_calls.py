"""The rehearsal's agent calls tools in each family's own shape and moment, waits for the results and tells them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from typing import Any

import pytest

from pipit.core.tool import Declaration
from pipit.rehearsal.dialects import DIALECTS
from pipit.services import Event, ReplyAudio, ReplyDone, ToolCall, ToolCancelled
from tests import speech
from tests.rehearsal.client import Client, spoken
from tests.rehearsal.talk import QUICK, SAY, TIMER, Talk, misbehaving

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

ASK = spoken("set a timer for ten seconds")
FUNCTION = {"type": "function", "name": TIMER.name, "description": TIMER.description, "parameters": TIMER.parameters}
UNSPOKEN, BRIEF = dataclasses.replace(QUICK, filler=""), dataclasses.replace(QUICK, filler="So.")
TALKATIVE = dataclasses.replace(QUICK, filler="One two three four five six.")
VOLUME = Declaration("set_volume", "Sets how loud it is.", {"type": "object", "properties": {"change": {"type": "number"}}})
TEN = {"seconds": 10}


# -- the wire ----------------------------------------------------------------------------------------------------------------------


async def configure(client: Client, **settings: Any) -> None:
    await client.send("session.update", session={"type": "realtime", "tools": [FUNCTION], **settings})
    await client.until("session.updated")


async def test_openai_says_something_and_calls_in_one_response() -> None:
    async with asyncio.timeout(30), misbehaving() as server, Client(server, "openai") as client:
        await configure(client)
        await client.speak(ASK)
        done = (await client.until("response.done"))["response"]
    message, call = done["output"]
    assert (done["status"], message["type"], call["type"]) == ("completed", "message", "function_call")
    assert (call["name"], json.loads(call["arguments"]), call["status"]) == ("set_timer", TEN, "completed")
    kinds = client.kinds()
    assert kinds[kinds.index("response.content_part.done") :] == [
        *("response.content_part.done", "conversation.item.done", "response.output_item.done"),
        *("response.output_item.added", "conversation.item.added"),
        *("response.function_call_arguments.delta", "response.function_call_arguments.done"),
        *("conversation.item.done", "response.output_item.done", "response.done"),
    ]
    assert [event["output_index"] for event in client.of("response.output_item.added")] == [0, 1]
    pieces = client.of("response.function_call_arguments.delta")
    assert "".join(event["delta"] for event in pieces) == call["arguments"]
    [whole] = client.of("response.function_call_arguments.done")
    assert (whole["call_id"], whole["item_id"], whole["output_index"]) == (call["call_id"], call["id"], 1)
    assert client.of("response.output_item.done")[1]["item"] == call


async def test_openai_tells_the_result_when_it_is_asked_to() -> None:
    async with asyncio.timeout(30), misbehaving(conduct=UNSPOKEN) as server, Client(server, "openai") as client:
        await configure(client)
        await client.speak(ASK)
        [call] = (await client.until("response.done"))["response"]["output"]
        item = {"type": "function_call_output", "call_id": call["call_id"], "output": '{"timer": 3}'}
        await client.send("conversation.item.create", item=item)
        await client.send("response.create")
        [told] = (await client.until("response.done"))["response"]["output"]
    assert told["content"][0]["transcript"] == "Done: timer 3."
    assert server.sessions[0].said == ["Done: timer 3."]


@pytest.mark.parametrize("settings", [{"tool_choice": "none"}, {"tools": []}])
async def test_openai_calls_nothing_that_it_may_not(settings: dict[str, Any]) -> None:
    async with asyncio.timeout(30), misbehaving() as server, Client(server, "openai") as client:
        await configure(client, **settings)
        await client.speak(ASK)
        [message] = (await client.until("response.done"))["response"]["output"]
    assert message["type"] == "message"


async def begin(client: Client, **tool: Any) -> None:
    await client.send("session.update", session={"tools": [{**FUNCTION, **tool}]})
    await client.until("session.ready")


async def test_assemblyai_calls_within_a_reply_and_goes_on_by_itself_with_the_result() -> None:
    async with asyncio.timeout(30), misbehaving() as server, Client(server, "assemblyai") as client:
        await begin(client)
        await client.speak(ASK)
        call = await client.until("tool.call")
        assert (call["name"], call["arguments"]) == ("set_timer", TEN)
        first = await client.until("reply.done", status="completed")
        await client.send("tool.result", call_id=call["call_id"], result='{"timer": 3}')
        started = await client.until("reply.started")
        assert started["reply_id"] == f"fc-{call['call_id']}"
        assert (await client.until("transcript.agent"))["text"] == "Done: timer 3."
        await client.until("reply.done")
    [filler] = [event for event in client.of("transcript.agent") if event["reply_id"] == first["reply_id"]]
    assert filler["text"] == "One moment."


async def test_assemblyai_takes_a_result_at_once_and_tells_it_after_the_reply() -> None:
    async with asyncio.timeout(30), misbehaving(flood=False, conduct=BRIEF) as server, Client(server, "assemblyai") as client:
        await begin(client)
        await client.speak(ASK)
        call = await client.until("tool.call")
        await client.send("tool.result", call_id=call["call_id"], result="no", is_error=True)
        await client.until("reply.done")
        await client.until("reply.started", reply_id=f"fc-{call['call_id']}")
    assert server.sessions[0].said[1] == "That did not work: no."


async def test_assemblyai_says_nothing_before_a_tool_that_is_held() -> None:
    async with asyncio.timeout(30), misbehaving() as server, Client(server, "assemblyai") as client:
        await begin(client, execution_mode="hold")
        await client.speak(ASK)
        await client.until("tool.call")
        await client.until("reply.done")
        assert client.of("reply.audio") == []


async def test_assemblyai_gives_a_tool_up_that_does_not_answer() -> None:
    async with asyncio.timeout(30), misbehaving() as server, Client(server, "assemblyai") as client:
        await begin(client, timeout_seconds=1)
        await client.speak(ASK)
        call = await client.until("tool.call")
        assert await client.until("reply.started", reply_id=f"fc-{call['call_id']}")
        assert (await client.until("transcript.agent"))["text"] == "That did not work: the tool has not answered."
        await client.until("reply.done")
        await client.send("tool.result", call_id=call["call_id"], result="at last")
        await client.send("session.end")
        await client.until("session.ended")
        assert len(client.of("reply.started")) == 2, "what comes too late is not told"


async def test_assemblyai_forgets_what_an_interrupted_reply_called() -> None:
    async with asyncio.timeout(30), misbehaving(flood=False, conduct=TALKATIVE) as server, Client(server, "assemblyai") as client:
        detection = {"turn_detection": {"interruption_delay": 0}}
        await client.send("session.update", session={"tools": [FUNCTION], "input": detection})
        await client.until("session.ready")
        await client.speak(ASK)
        call = await client.until("tool.call")
        await client.speak(spoken("what time is it"))
        assert (await client.until("reply.done"))["status"] == "interrupted"
        await client.send("tool.result", call_id=call["call_id"], result='{"timer": 3}')
        await client.until("reply.done", status="completed")
        await client.send("session.end")
        await client.until("session.ended")
    assert len(client.of("reply.started")) == 2, "the time is told and the timer is not"
    assert server.sessions[0].said[1].startswith(("It is", "The time is"))


# -- the daemon --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", [*DIALECTS, "assemblyai"])
async def test_the_daemon_answers_and_hears_the_result(provider: str) -> None:
    async with misbehaving() as server:
        talk = Talk(server, provider, tools=(TIMER, VOLUME))
        await talk.hold("set a timer for ten seconds", replies=2)
        errors = server.sessions[0].of("error") + server.sessions[0].of("session.error")
    [call] = talk.of(ToolCall)
    assert (call.name, call.arguments) == ("set_timer", TEN)
    assert talk.words == "One moment. Done: timer 1."
    assert [event.status for event in talk.of(ReplyDone)] == ["completed", "completed"]
    assert errors == []
    assert talk.codec.unknown == talk.codec.malformed == 0


@pytest.mark.parametrize("moment", ["after_reply", "at_once"])
async def test_both_moments_for_a_result_at_assemblyai(moment: str) -> None:
    async with misbehaving(flood=False, conduct=TALKATIVE) as server:
        talk = Talk(server, "assemblyai", tools=(TIMER,), tool_results=moment)
        done: list[bool] = []

        async def look(event: Event) -> None:
            """The first reply lasts two seconds after the call."""
            if isinstance(event, ReplyAudio | ReplyDone):
                done.append(bool(talk.of(ReplyDone)))
                results = [message for message in server.sessions[0].messages if message["type"] == "tool.result"]
                if results:
                    await talk.session.close()

        await talk.hold("set a timer for ten seconds", replies=2, then=look)
    assert done[-1] == (moment == "after_reply")


@pytest.mark.parametrize("provider", ["openai", "assemblyai"])
async def test_who_talks_before_the_tool_has_answered_is_answered_first(provider: str) -> None:
    async with misbehaving() as server:
        talk = Talk(server, provider, tools=(TIMER,), answer=None)
        calls: list[str] = []

        async def go_on(event: Event) -> None:
            if isinstance(event, ToolCall):
                calls.append(event.call)
            if isinstance(event, ReplyDone) and len(talk.of(ReplyDone)) == 1:
                await talk.session.generate(SAY)
            if isinstance(event, ReplyDone) and len(talk.of(ReplyDone)) == 2:
                await talk.session.tool_result(calls[0], '{"timer": 1}', is_error=False)

        await talk.hold("set a timer for ten seconds", replies=3, then=go_on)
    assert talk.words == "One moment. One two three four five. Done: timer 1."


@pytest.mark.parametrize("provider", ["openai", "assemblyai"])
async def test_who_talks_over_the_reply_that_calls_a_tool_calls_it_off(provider: str) -> None:
    """OpenAI calls at the end of a reply, and so not at all; AssemblyAI has called already and wants no answer any more."""
    detection = {"turn_detection": {"interruption_delay": 0}} if provider == "assemblyai" else {}
    async with misbehaving(flood=False, conduct=TALKATIVE) as server:
        talk = Talk(server, provider, tools=(TIMER,), answer=None, **detection)
        begun: list[Event] = []

        async def talk_over(event: Event) -> None:
            if isinstance(event, ReplyAudio) and not begun:
                begun.append(event)
                talk.say("what time is it")
            if isinstance(event, ReplyDone) and len(talk.of(ReplyDone)) == 2:
                for call in talk.of(ToolCall):
                    await talk.session.tool_result(call.call, '{"timer": 1}', is_error=False)

        await talk.hold("set a timer for ten seconds", replies=2, then=talk_over)
        results = [message for message in server.sessions[0].messages if message["type"] == "tool.result"]
    assert [event.status for event in talk.of(ReplyDone)] == ["interrupted", "completed"]
    calls = [event.call for event in talk.of(ToolCall)]
    assert len(calls) == (1 if provider == "assemblyai" else 0)
    assert [event.call for event in talk.of(ToolCancelled)] == calls
    assert results == []
    assert "timer" not in talk.words
