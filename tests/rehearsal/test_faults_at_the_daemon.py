"""Each way in which a voice agent's service can misbehave, met by the daemon's own codec and session shell: how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipit.rehearsal import Rehearsal
from pipit.services import Ended, Event, Expiring, Failed, Ready, ReplyAudio, ReplyDone, ToolCall, UserText
from tests import speech
from tests.rehearsal.talk import IMPATIENT, TIMER, Talk, misbehaving

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

OPENAI, ASSEMBLYAI = "openai", "assemblyai"
PROTOCOLS = (OPENAI, ASSEMBLYAI)
WHOLE: dict[str, bytes] = {}
"""How a reply without faults sounds."""
WORDS = "One two three four five."
ASK = "set a timer for ten seconds"


def closed_here(talk: Talk) -> bool:
    """Say whether the session lasted until it was closed by the daemon."""
    return isinstance(talk.last, Ended)


# -- errors ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "code", "kind"),
    [
        (OPENAI, "server_error", "retryable"),
        (OPENAI, "rate_limit_exceeded", "retryable"),
        (OPENAI, "session_expired", "retryable"),
        (OPENAI, "insufficient_quota", "fatal"),
        (ASSEMBLYAI, "at_capacity", "retryable"),
        (ASSEMBLYAI, "concurrency_exceeded", "retryable"),
        (ASSEMBLYAI, "internal_error", "retryable"),
        (ASSEMBLYAI, "agent_timeout", "retryable"),
        (ASSEMBLYAI, "forbidden", "config"),
    ],
)
@pytest.mark.parametrize("moment", ["error_at_ready", "error_mid_reply"])
async def test_an_error_ends_the_session_with_its_own_consequence(moment: str, provider: str, code: str, kind: str) -> None:
    async with misbehaving(**{moment: True}, error_code=code) as server:
        talk = Talk(server, provider)
        await talk.hold()
    assert isinstance(talk.last, Failed)
    assert (talk.last.kind, code in talk.last.reason) == (kind, True)
    assert bool(talk.of(Ready)) == bool(talk.of(ReplyAudio)) == (moment == "error_mid_reply")


@pytest.mark.parametrize(("provider", "code"), [(ASSEMBLYAI, "audio_rate_violation"), (OPENAI, "something_else")])
async def test_an_error_that_is_a_warning_is_recorded_and_the_reply_goes_on(provider: str, code: str) -> None:
    async with misbehaving(error_mid_reply=True, error_code=code) as server:
        talk = Talk(server, provider)
        await talk.hold()
    assert [event.kind for event in talk.of(Failed)] == ["benign"]
    assert talk.of(ReplyDone)[0].status == "completed"
    assert (talk.words, closed_here(talk)) == (WORDS, True)


async def test_errors_as_they_were_once_called() -> None:
    async with misbehaving(error_mid_reply=True, error_code="at_capacity", older_errors=True) as server:
        talk = Talk(server, ASSEMBLYAI)
        await talk.hold()
        [error] = server.sessions[0].of("error")
    assert error["code"] == "AT_CAPACITY"
    assert talk.last.kind == "retryable"


@pytest.mark.parametrize(
    ("provider", "code", "kind"),
    [
        (OPENAI, "server_error", None),
        (OPENAI, "rate_limit_exceeded", "retryable"),
        (OPENAI, "insufficient_quota", "fatal"),
        (ASSEMBLYAI, "server_error", None),
    ],
)
async def test_a_reply_that_fails(provider: str, code: str, kind: str | None) -> None:
    async with misbehaving(failed_reply=True, error_code=code) as server:
        talk = Talk(server, provider)
        await talk.hold(replies=2 if kind else 1)
    [done] = talk.of(ReplyDone)
    assert (done.status, code in done.reason, talk.sound) == ("failed", True, b"")
    if kind is None:
        assert closed_here(talk), "the next reply may be better"
    else:
        assert (talk.last.kind, code in talk.last.reason) == (kind, True)


async def test_a_reply_that_became_too_long_is_heard_as_far_as_it_came() -> None:
    async with misbehaving(incomplete_reply=True) as server:
        talk = Talk(server, OPENAI)
        await talk.hold()
        assert server.sessions[0].of("response.done")[0]["response"]["status"] == "incomplete"
    assert talk.of(ReplyDone)[0].status == "completed"
    assert 0.5 <= len(talk.sound) / 48000 < 0.8


async def test_words_that_cannot_be_written_down_do_not_keep_the_agent_from_answering() -> None:
    async with misbehaving(transcription_fails=True) as server:
        talk = Talk(server, OPENAI)
        await talk.hold("what time is it")
    assert [event.kind for event in talk.of(Failed)] == ["benign"]
    assert talk.of(UserText) == []
    assert talk.words.startswith("It is")


# -- the connection ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "moment", "code", "kind"),
    [
        (OPENAI, "close_at_ready", 1013, "retryable"),
        (ASSEMBLYAI, "close_at_ready", 1008, "config"),
        (OPENAI, "close_mid_turn", 1001, "retryable"),
        (ASSEMBLYAI, "close_mid_turn", 1012, "retryable"),
        *((OPENAI, "close_mid_reply", code, "retryable") for code in (1001, 1011, 1012, 1013, 1014, 3999)),
        (OPENAI, "close_mid_reply", 1007, "fatal"),
        (OPENAI, "close_mid_reply", 4000, "fatal"),
        (OPENAI, "close_mid_reply", 1008, "config"),
        (OPENAI, "close_mid_reply", 1000, None),
        (ASSEMBLYAI, "close_mid_reply", 1011, "retryable"),
        (ASSEMBLYAI, "close_mid_reply", 1007, "fatal"),
        (ASSEMBLYAI, "close_mid_reply", 1000, None),
    ],
)
async def test_close_codes(provider: str, moment: str, code: int, kind: str | None) -> None:
    async with misbehaving(**{moment: code}) as server:
        talk = Talk(server, provider)
        await talk.hold("what time is it" if moment == "close_mid_turn" else "")
    assert getattr(talk.last, "kind", None) == kind
    assert isinstance(talk.last, Ended if kind is None else Failed)
    assert not talk.of(ReplyDone)


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_a_connection_that_is_lost_while_the_person_talks(provider: str) -> None:
    async with misbehaving(drop_mid_turn=True) as server:
        talk = Talk(server, provider)
        await talk.hold("what time is it")
    assert talk.last.kind == "retryable"
    assert "lost" in talk.last.reason


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_a_service_that_falls_silent_while_the_person_talks(provider: str) -> None:
    async with misbehaving(stall_mid_turn=True) as server:
        talk = Talk(server, provider, IMPATIENT)

        async def decide(event: Event) -> None:
            """The daemon hears the end of the turn for itself."""
            if isinstance(event, Ready):
                await asyncio.sleep(0.2)
                await talk.session.end_turn()

        await talk.hold("what time is it", then=decide)
    assert talk.last.kind == "retryable"
    assert "silent" in talk.last.reason


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_sessions_that_become_too_old(provider: str) -> None:
    async with misbehaving(expire_s=0.6, flood=False) as server:
        talk = Talk(server, provider)
        await talk.hold(replies=5)
    assert talk.last.kind == "retryable"
    assert "0.6 s" in talk.last.reason or "maximum duration" in talk.last.reason
    assert [event.in_s for event in talk.of(Expiring)] == ([0.6] if provider == ASSEMBLYAI else [])


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_pings_without_an_answer_end_the_session(provider: str) -> None:
    async with misbehaving(ignore_pings=True) as server:
        talk = Talk(server, provider, IMPATIENT)
        await talk.hold("goodbye", replies=9)
    assert talk.last == Failed("retryable", "127.0.0.1 did not answer a ping: the connection is dead")


async def test_yandex_answers_no_pings_and_is_not_asked_for_any() -> None:
    async with misbehaving() as server:
        talk = Talk(server, "yandex", IMPATIENT)

        async def outlive_pings(event: Event) -> None:
            if isinstance(event, Ready):
                await asyncio.sleep(3 * IMPATIENT.ping_s)

        await talk.hold(then=outlive_pings)
    assert talk.of(ReplyDone)[0].status == "completed"
    assert closed_here(talk)


# -- the order of things -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        *((provider, {"unknown_events": True}) for provider in PROTOCOLS),
        *((provider, {"event_delay_s": 0.002}) for provider in PROTOCOLS),
        (OPENAI, {"omit": "session.created,response.output_item.added,response.output_item.done,response.content_part.added"}),
        (OPENAI, {"omit": "conversation.item.added,conversation.item.done,response.output_audio.done"}),
        (OPENAI, {"omit": "response.created"}),
        (OPENAI, {"omit": "response.output_audio_transcript.delta"}),
        (OPENAI, {"omit": "response.output_audio_transcript.done"}),
        (ASSEMBLYAI, {"omit": "session.updated"}),
        (ASSEMBLYAI, {"omit": "transcript.agent.delta"}),
        (ASSEMBLYAI, {"omit": "transcript.agent"}),
        (ASSEMBLYAI, {"omit": "reply.started"}),
    ],
    ids=str,
)
async def test_a_reply_arrives_whole_and_once(provider: str, fault: dict[str, Any]) -> None:
    if provider not in WHOLE:
        async with misbehaving() as server:
            healthy = Talk(server, provider)
            await healthy.hold()
            WHOLE[provider] = healthy.sound
    async with misbehaving(**fault) as server:
        talk = Talk(server, provider)
        await talk.hold()
    assert [event.status for event in talk.of(ReplyDone)] == ["completed"]
    assert (talk.words, closed_here(talk)) == (WORDS, True)
    assert talk.sound == WHOLE[provider]


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_events_that_overtake_each_other(provider: str) -> None:
    async with misbehaving(out_of_order=True) as server:
        talk = Talk(server, provider)
        await talk.hold("what time is it", replies=1)
        kinds = [event["type"] for event in server.sessions[0].events]
    async with misbehaving() as server:
        healthy = Talk(server, provider)
        await healthy.hold("what time is it")
        assert kinds != [event["type"] for event in server.sessions[0].events]
    assert [event.status for event in talk.of(ReplyDone)] == ["completed"]
    assert closed_here(talk)
    assert talk.codec.malformed == talk.codec.unknown == 0
    assert len(talk.sound) > 0.9 * len(healthy.sound), "at most the last piece has come too late"


@pytest.mark.parametrize(
    ("provider", "omit", "reason"),
    [
        (OPENAI, "session.updated", "was not ready"),
        (OPENAI, "response.done", "was silent"),
        (ASSEMBLYAI, "session.ready", "was not ready"),
        (ASSEMBLYAI, "reply.done", "was silent"),
    ],
)
async def test_what_the_session_cannot_do_without_ends_it_at_its_deadline(provider: str, omit: str, reason: str) -> None:
    async with misbehaving(omit=omit) as server:
        talk = Talk(server, provider, IMPATIENT)
        await talk.hold()
    assert talk.last.kind == "retryable"
    assert reason in talk.last.reason


# -- stopping a reply --------------------------------------------------------------------------------------------------------------


async def stopped(server: Rehearsal) -> Talk:
    """Stop a reply in its middle, and wait for what the service says to that."""
    talk = Talk(server, ASSEMBLYAI, reply_cancel=True)

    async def stop(event: Event) -> None:
        if isinstance(event, ReplyAudio):
            await talk.session.interrupt(event.reply, 100, by_service=False)

    await talk.hold(then=stop)
    return talk


async def test_reply_cancel_where_the_service_takes_it() -> None:
    async with misbehaving(reply_cancel=True, flood=False) as server:
        talk = await stopped(server)
        assert [event["status"] for event in server.sessions[0].of("reply.done")] == ["cancelled"]
    assert [event.status for event in talk.of(ReplyDone)] in (["cancelled"], ["interrupted"])
    assert not talk.of(Failed)


async def test_reply_cancel_where_it_does_not() -> None:
    async with misbehaving(flood=False) as server:
        talk = await stopped(server)
        assert [event["status"] for event in server.sessions[0].of("reply.done")] == ["completed"]
    assert talk.of(Failed) == [Failed("benign", "AssemblyAI refused reply.cancel: replies are silenced here only")]
    assert len(talk.of(ReplyAudio)) < 5, "the rest of it is not heard"


# -- tools -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_arguments_that_are_broken_reach_no_tool_and_the_agent_learns_of_it(provider: str) -> None:
    async with misbehaving(bad_arguments=True) as server:
        talk = Talk(server, provider, tools=(TIMER,))
        await talk.hold(ASK, replies=2)
    assert talk.of(ToolCall) == []
    assert "That did not work" in talk.words


async def test_arguments_that_are_a_text_are_understood() -> None:
    async with misbehaving(text_arguments=True) as server:
        talk = Talk(server, ASSEMBLYAI, tools=(TIMER,))
        await talk.hold(ASK, replies=2)
        assert isinstance(server.sessions[0].of("tool.call")[0]["arguments"], str)
    assert [event.arguments for event in talk.of(ToolCall)] == [{"seconds": 10}]


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_a_tool_that_nobody_declared_is_answered_with_an_error(provider: str) -> None:
    async with misbehaving(unknown_tool=True) as server:
        talk = Talk(server, provider, tools=(TIMER,), answer=('{"error": "this device has no such tool"}', True))
        await talk.hold(ASK, replies=2)
    assert [event.name for event in talk.of(ToolCall)] == ["no_such_tool"]
    assert "That did not work" in talk.words


@pytest.mark.parametrize("provider", PROTOCOLS)
async def test_what_comes_twice_is_done_once(provider: str) -> None:
    async with misbehaving(duplicate_events=True) as server:
        talk = Talk(server, provider, tools=(TIMER,))
        await talk.hold(ASK, replies=2)
        results = [m for m in server.sessions[0].messages if "function_call_output" in str(m) or m["type"] == "tool.result"]
    assert len(talk.of(ToolCall)) == len(results) == 1
    assert len(talk.of(ReplyDone)) == 2
    assert talk.words.endswith("1.")
    assert closed_here(talk)
