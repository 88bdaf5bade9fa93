"""The session with real stages: pocketsphinx and espeak-ng on this device, the rehearsal's endpoints over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from pipit.core.tool import Declaration
from pipit.offline.espeak import synthesise
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal, skills
from pipit.rehearsal.web import Exchange
from pipit.services import (
    Ended,
    Failed,
    Line,
    Opening,
    Ready,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    ReplyText,
    ToolCall,
    UserStarted,
    UserStopped,
    UserText,
)
from pipit.services.cascade import Call, Item, StageError, Text, espeak_speak, sphinx_hear
from pipit.services.cascade.dialogue import CANCELLED
from pipit.services.cascade.guarded import Stages
from pipit.services.cascade.offline_think import STANDS_IN
from pipit.services.cascade.provider import build
from pipit.services.cascade.session import GUESSES, LONGEST_GUESS_S, NO_OBJECT, NOT_UNDERSTOOD, CascadeSession
from pipit.services.cascade.settings import Settings, ThinkSettings, TurnSettings
from pipit.services.durable import Durable
from pipit.services.link import Provider
from tests import speech
from tests.services.cascade.spoken_words import RATE_HZ, word_ends
from tests.services.cascade.talk import Talk, at, talking

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

NOON = datetime(2026, 11, 20, 12, 0)
CLOCK = Declaration("get_time", "Returns the time.")
VOLUME = Declaration("set_volume", "Sets the volume.", {"type": "object", "properties": {"level": {"type": "integer"}}})


@contextlib.asynccontextmanager
async def serving(conduct: Conduct = Conduct(think_s=0.0), **faults: Any) -> AsyncIterator[Rehearsal]:  # noqa: B008 (frozen)
    async with asyncio.timeout(60), Rehearsal(misbehave=Misbehaviour(**faults), conduct=conduct, now=lambda: NOON) as server:
        yield server


def asked(server: Rehearsal) -> list[Exchange]:
    """Return the questions to the language model."""
    return [exchange for exchange in server.exchanges if exchange.protocol == "completions"]


def told(exchange: Exchange) -> list[tuple[str, str | None]]:
    """Return what the language model was told, without its instructions."""
    return [(message["role"], message["content"]) for message in exchange.asked["messages"][1:]]


def kinds(talk: Talk) -> list[str]:
    return [type(event).__name__ for event in talk.events if not isinstance(event, ReplyAudio)]


# -- one turn ----------------------------------------------------------------------------------------------------------------------


async def test_a_question_is_heard_and_answered() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        done = await talk.until(ReplyDone)
        assert kinds(talk) == ["Ready", "UserStarted", "UserStopped", "UserText", "ReplyStarted", "ReplyText", "ReplyDone"]
        assert talk.heard == ["what time is it"]
        assert talk.said(done.reply) == "It is twelve o'clock."
        assert done.status == "completed"
        assert len(talk.pcm(done.reply)) > 22050


async def test_the_second_question_knows_of_the_first() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        await talk.until(ReplyDone)
        await talk.hears("thank you")
        await talk.until(ReplyDone, 2)
        expected = [("user", "what time is it"), ("assistant", "It is twelve o'clock."), ("user", "thank you")]
        assert told(asked(server)[-1]) == expected


async def test_what_was_said_before_the_session_is_known() -> None:
    async with serving() as server:
        opening = Opening(history=(Line(False, "Is it raining?"), Line(True, "No.")))
        async with talking(build(at(server))(opening)) as talk:
            await talk.until(Ready)
            await talk.hears("thank you")
            await talk.until(ReplyDone)
            assert told(asked(server)[-1])[:2] == [("user", "Is it raining?"), ("assistant", "No.")]


async def test_a_greeting_is_said_word_for_word_at_the_beginning_only() -> None:
    async with serving() as server:
        opener = build(at(server, greeting="Kitchen here."))
        async with talking(opener()) as talk:
            done = await talk.until(ReplyDone)
            assert talk.said(done.reply) == "Kitchen here."
        async with talking(opener(Opening(greet=False))) as talk:
            await talk.until(Ready)
            await talk.hears("goodbye")
            await talk.until(ReplyDone)
            assert "Kitchen here." not in [event.text for event in talk.of(ReplyText)]
        assert len(asked(server)) == 1


async def test_the_words_are_spoken_as_they_are_pronounced_and_told_as_they_are_written() -> None:
    async with serving() as server:
        plain, spoken = at(server), at(server, pronunciation={"clock": "clock clock clock clock"})
        lengths = []
        for settings in (plain, spoken):
            async with talking(build(settings)()) as talk:
                await talk.until(Ready)
                await talk.hears("what time is it")
                done = await talk.until(ReplyDone)
                assert talk.said(done.reply) == "It is twelve o'clock."
                lengths.append(len(talk.pcm(done.reply)))
        assert lengths[1] > 1.5 * lengths[0]


async def test_the_first_sentence_is_spoken_while_the_rest_is_written() -> None:
    async with serving(Conduct(think_s=0.0, word_s=0.02)) as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story")
        await talk.until(ReplyAudio)
        assert not asked(server)[0].finished
        assert len(talk.of(ReplyText)) <= 3


async def test_a_click_is_answered_with_silence() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.sound(speech.say("up", speed=220)[:2400])
        await talk.silence(900)
        if talk.of(UserStarted):
            done = await talk.until(ReplyDone)
            assert talk.pcm(done.reply) == b""
        assert asked(server) == []


async def test_nothing_intelligible_is_answered_with_silence_and_not_sent_to_the_model() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("hippopotamus, rhinoceros, chimpanzee")
        done = await talk.until(ReplyDone)
        assert (talk.pcm(done.reply), talk.heard, asked(server)) == (b"", [], [])


async def test_the_button_ends_a_turn() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it", pause_ms=100)
        assert not talk.of(UserStopped)
        await talk.session.end_turn()
        await talk.until(ReplyDone)
        assert talk.heard == ["what time is it"]


async def test_ending_a_turn_that_never_began_leaves_nobody_waiting() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.session.end_turn()
        await talk.until(ReplyDone)
        assert asked(server) == []


async def test_an_instruction_is_followed_after_what_is_at_work() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        await talk.session.generate("Say this: the kettle has boiled.")
        await talk.until(ReplyDone, 2)
        first, second = talk.of(ReplyDone)
        assert talk.said(first.reply) == "It is twelve o'clock."
        assert talk.said(second.reply) == "the kettle has boiled."
        await talk.hears("thank you")
        await talk.until(ReplyDone, 3)
        assert ("system", "Say this: the kettle has boiled.") not in told(asked(server)[-1])


# -- pauses ------------------------------------------------------------------------------------------------------------------------

SLOW = TurnSettings(silence_ms=2000, pause_ms=300)


async def test_at_a_pause_the_answer_is_begun_and_used_if_nothing_more_is_said() -> None:
    async with serving() as server, talking(build(at(server, turn=SLOW))()) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it", pause_ms=600)
        while not (asked(server) and asked(server)[0].finished):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert kinds(talk) == ["Ready", "UserStarted"]
        await talk.silence(1700)
        done = await talk.until(ReplyDone)
        assert talk.said(done.reply) == "It is twelve o'clock."
        assert len(asked(server)) == 1


async def test_what_was_begun_at_a_pause_is_dropped_without_a_trace_if_more_is_said() -> None:
    async with serving() as server, talking(build(at(server, turn=SLOW))()) as talk:
        await talk.until(Ready)
        await talk.hears("hey jarvis", pause_ms=600)
        while not asked(server):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await talk.hears("what time is it", pause_ms=2300)
        done = await talk.until(ReplyDone)
        assert talk.heard == ["what time is it"]
        assert talk.said(done.reply) == "It is twelve o'clock."
        assert len(talk.of(UserText)) == len(talk.of(ReplyStarted)) == 1
        await talk.hears("thank you", pause_ms=2300)
        await talk.until(ReplyDone, 2)
        assert [text for role, text in told(asked(server)[-1]) if role == "user"] == ["what time is it", "thank you"]


async def test_a_failure_at_a_pause_is_nobodys_business() -> None:
    async with serving(sessions=1) as server, talking(build(at(server, turn=SLOW))()) as talk:
        await talk.until(Ready)
        server._misbehave = Misbehaviour(refuse_upgrade=503, stage="think")
        await talk.hears("hey jarvis", pause_ms=600)
        await talk.silence(100)
        server._misbehave = Misbehaviour()
        await talk.hears("what time is it", pause_ms=2300)
        await talk.until(ReplyDone)
        assert not talk.of(Failed)


async def test_what_failed_at_a_pause_is_tried_again_when_the_turn_is_over() -> None:
    async with talking(with_model(model := Scripted(StageError("retryable", "too busy"), Text("It is noon.")), SLOW)) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it", pause_ms=600)
        while not model.asked:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await talk.silence(1700)
        done = await talk.until(ReplyDone)
        assert talk.said(done.reply) == "It is noon."
        assert not talk.of(Failed)


async def test_tools_never_run_at_a_pause() -> None:
    async with serving() as server:
        session = build(at(server, turn=SLOW))(Opening(tools=(CLOCK,)))
        async with talking(session, {"get_time": {"time": "14:05"}}) as talk:
            await talk.until(Ready)
            await talk.hears("what time is it", pause_ms=600)
            while not (asked(server) and asked(server)[0].finished):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert not talk.of(ToolCall)
            await talk.silence(1700)
            await talk.until(ToolCall)
            await talk.until(ReplyDone)
            assert len(talk.of(ToolCall)) == 1


async def test_preemptive_attempts_can_be_turned_off() -> None:
    turn = TurnSettings(silence_ms=2000, pause_ms=300, preemptive=False)
    async with serving() as server, talking(build(at(server, turn=turn))()) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it", pause_ms=1500)
        await asyncio.sleep(0.1)
        assert server.exchanges == []
        await talk.silence(900)
        await talk.until(ReplyDone)


async def test_who_pauses_often_is_not_transcribed_at_each_pause() -> None:
    async with serving() as server, talking(build(at(server, turn=SLOW))()) as talk:
        await talk.until(Ready)
        for pause in range(1, GUESSES + 3):
            await talk.hears("thank you", pause_ms=600)
            while len(transcribed(server)) < min(pause, GUESSES):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(transcribed(server)) == GUESSES
        await talk.silence(1700)
        await talk.until(ReplyDone)
        assert len(transcribed(server)) == GUESSES + 1


async def test_who_talks_for_long_is_not_transcribed_at_a_pause() -> None:
    clip = speech.say("thank you", speed=130)
    long = np.tile(clip, round(1.1 * LONGEST_GUESS_S * 16000 / len(clip)))
    async with serving() as server, talking(build(at(server, turn=SLOW))()) as talk:
        await talk.until(Ready)
        await talk.sound(long)
        await talk.silence(600)
        await asyncio.sleep(0.1)
        assert len(talk.of(UserStarted)) == 1
        assert transcribed(server) == []
        await talk.silence(1700)
        await talk.until(ReplyDone)
        assert len(transcribed(server)) == 1


def transcribed(server: Rehearsal) -> list[Exchange]:
    return [exchange for exchange in server.exchanges if exchange.protocol == "transcriptions"]


async def test_who_goes_on_before_the_transcript_is_there_has_said_one_thing() -> None:
    turn = TurnSettings(silence_ms=400, pause_ms=200)
    async with serving(Conduct(think_s=0.0, hear_s=1.0)) as server, talking(build(at(server, turn=turn))()) as talk:
        await talk.until(Ready)
        await talk.hears("hey jarvis", pause_ms=600)
        await talk.until(UserStopped)
        await talk.hears("what time is it", pause_ms=600)
        done = await talk.until(ReplyDone)
        assert talk.heard == ["what time is it"]
        assert talk.said(done.reply) == "It is twelve o'clock."
        [once] = [exchange for exchange in transcribed(server) if exchange.finished]
        both = len(speech.say("hey jarvis")) + len(speech.say("what time is it"))
        assert len(once.asked["file"]) > 2 * both


async def test_who_goes_on_before_anybody_has_taken_the_transcript_has_said_one_thing() -> None:
    async with serving() as server, talking(build(at(server, turn=SLOW))()) as talk:
        await talk.until(Ready)
        await talk.hears("hey jarvis", pause_ms=600)
        while not (asked(server) and asked(server)[0].finished):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # The loop was busy: the end of the turn and what is said after it come at once.
        await talk.sound(np.concatenate((np.zeros(1700 * 16, np.int16), speech.say("what time is it"))))
        await talk.silence(2300)
        await talk.until(ReplyDone)
        both = len(speech.say("hey jarvis")) + len(speech.say("what time is it"))
        assert len(transcribed(server)[-1].asked["file"]) > 2 * both
        assert talk.heard == ["what time is it"]


# -- interruptions -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("heard_ms", [0, 700, 3000, 7300])
async def test_an_interrupted_reply_leaves_exactly_the_words_that_were_heard(heard_ms: int) -> None:
    story = skills.STORIES[0]
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story")
        started = await talk.until(ReplyStarted)
        await talk.until(ReplyText, 4)
        await talk.session.interrupt(started.reply, heard_ms, by_service=False)
        await talk.until(ReplyDone, when=lambda done: done.status == "cancelled")
        await talk.hears("thank you")
        await talk.until(ReplyDone, when=lambda done: done.status == "completed")
        history = [text or "" for role, text in told(asked(server)[-1]) if role == "assistant"]
    ends, before = list[int](), 0
    for sentence in story:
        ends += [before + end for end in word_ends(sentence, "en-gb")]
        before += len(synthesise(sentence, RATE_HZ, "en-gb"))
    really = sum(end <= heard_ms * RATE_HZ / 1000 for end in ends)
    kept = history[0].split() if history else []
    assert kept == " ".join(story).split()[: len(kept)]
    assert abs(len(kept) - really) <= 1
    assert (heard_ms == 0) == (kept == [])


async def test_talking_interrupts_and_what_was_heard_is_told_later() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story")
        started = await talk.until(ReplyStarted)
        await talk.until(ReplyAudio)
        await talk.sound(speech.say("thank you"))
        done = await talk.until(ReplyDone)
        assert done == ReplyDone(started.reply, "interrupted")
        await talk.session.interrupt(started.reply, 1400, by_service=True)
        await talk.silence(800)
        await talk.until(ReplyDone, when=lambda done: done.status == "completed")
        [kept] = [text for role, text in told(asked(server)[-1]) if role == "assistant"]
        assert kept in ("Here is a", "Here is a story.", "Here is a story. Once")


async def test_what_is_known_only_after_a_pause_is_told_all_the_same() -> None:
    """The model was asked at the pause, before anybody knew how much of the reply had been heard; it is asked once more."""
    async with serving() as server, talking(build(at(server, turn=SLOW))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story", pause_ms=2300)
        started = await talk.until(ReplyStarted)
        await talk.until(ReplyAudio)
        await talk.hears("thank you", pause_ms=600)
        while len(asked(server)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await talk.session.interrupt(started.reply, 1400, by_service=True)
        await talk.silence(1700)
        await talk.until(ReplyDone, when=lambda done: done.status == "completed")
        assert len(asked(server)) == 3
        [kept] = [text for role, text in told(asked(server)[-1]) if role == "assistant"]
        assert kept in ("Here is a", "Here is a story.", "Here is a story. Once")


async def test_a_reply_that_was_made_to_its_end_can_still_be_interrupted() -> None:
    async with serving() as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        done = await talk.until(ReplyDone)
        await talk.session.interrupt(done.reply, 0, by_service=True)
        await talk.hears("thank you")
        await talk.until(ReplyDone, 2)
        assert told(asked(server)[-1]) == [("user", "what time is it"), ("user", "thank you")]


async def test_the_button_ends_what_was_to_be_said_afterwards_as_well() -> None:
    async with serving(Conduct(think_s=0.5)) as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story")
        await talk.until(UserText)
        await talk.session.generate("Say this: the kettle has boiled.")
        await talk.session.interrupt(None, 0, by_service=False)
        await talk.hears("thank you")
        await talk.until(ReplyDone)
        await asyncio.sleep(0.1)
        assert [role for exchange in asked(server) for role, _ in told(exchange)].count("system") == 0
        assert len(talk.of(ReplyStarted)) == 1


async def test_the_button_ends_an_answer_that_has_not_begun() -> None:
    async with serving(Conduct(think_s=5.0)) as server, talking(build(at(server))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story")
        await talk.until(UserText)
        await talk.session.interrupt(None, 0, by_service=False)
        while not asked(server):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await talk.silence(200)
        assert not talk.of(ReplyStarted)


# -- tools -------------------------------------------------------------------------------------------------------------------------


async def test_a_tool_is_run_and_its_result_spoken() -> None:
    async with serving() as server:
        session = build(at(server))(Opening(tools=(CLOCK,)))
        async with talking(session, {"get_time": {"time": "14:05"}}) as talk:
            await talk.until(Ready)
            await talk.hears("what time is it")
            done = await talk.until(ReplyDone)
            assert "14:05" in talk.said(done.reply)
            roles = [role for role, _ in told(asked(server)[-1])]
            assert roles == ["user", "assistant", "tool"]


async def test_a_call_that_was_interrupted_is_answered_for_the_model() -> None:
    async with serving() as server, talking(build(at(server))(Opening(tools=(CLOCK,)))) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        call = await talk.until(ToolCall)
        await talk.hears("thank you")
        await talk.until(ReplyDone)
        assert told(asked(server)[-1])[2] == ("tool", CANCELLED)
        await talk.session.tool_result(call.call, '{"time": "14:05"}', is_error=False)
        await talk.hears("thank you")
        await talk.until(ReplyDone, 2)
        assert told(asked(server)[-1])[2] == ("tool", '{"time": "14:05"}')


async def test_without_rounds_no_tool_is_offered() -> None:
    async with serving() as server, talking(build(at(server, think={"tool_rounds": 0}))(Opening(tools=(CLOCK,)))) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        done = await talk.until(ReplyDone)
        assert talk.said(done.reply) == "It is twelve o'clock."
        assert "tools" not in asked(server)[0].asked


class Scripted:
    """A language model that answers in a given order; what is an error is raised."""

    stands_in = ""

    def __init__(self, *answers: Text | Call | StageError) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def open(self) -> None:
        pass

    async def release(self) -> None:
        pass

    async def think(self, items: Sequence[Item], tools: Sequence[Declaration]) -> AsyncGenerator[Text | Call, None]:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, StageError):
            raise answer
        yield answer


def with_model(model: Scripted, turn: TurnSettings = TurnSettings(), tool_rounds: int = 0) -> CascadeSession:  # noqa: B008 (frozen)
    settings = Settings(think=ThinkSettings(tool_rounds=tool_rounds), turn=turn)
    stages = Stages(sphinx_hear.build(settings), model, espeak_speak.build(settings), 5.0, 5.0)
    return CascadeSession(stages, settings, Opening(tools=(CLOCK,)))


@pytest.mark.parametrize("answer", [Text("\N{THUMBS UP SIGN}"), Text("**"), Text("..."), Call("c1", "get_time", "{}")], ids=str)
async def test_an_answer_of_which_nothing_can_be_spoken_leaves_nobody_waiting(answer: Text | Call) -> None:
    async with talking(with_model(Scripted(answer))) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        done = await talk.until(ReplyDone)
        assert done.status == "completed"
        assert talk.said(done.reply) == ""
        assert not talk.of(ToolCall), "no rounds, so it may not call"


class Obsessed:
    """A language model that wants to know the time whatever it is asked, and whatever it is offered."""

    stands_in = ""

    def __init__(self) -> None:
        self.offered: list[int] = []

    async def open(self) -> None:
        pass

    async def release(self) -> None:
        pass

    async def think(self, items: Sequence[Item], tools: Sequence[Declaration]) -> AsyncGenerator[Text | Call, None]:
        self.offered.append(len(tools))
        yield Text("One moment.")
        yield Call(f"c{len(self.offered)}", "get_time", "{}")


async def test_a_model_that_calls_tools_for_ever_is_stopped() -> None:
    settings, model = Settings(think=ThinkSettings(tool_rounds=2)), Obsessed()
    stages = Stages(sphinx_hear.build(settings), model, espeak_speak.build(settings), 5.0, 5.0)
    async with talking(CascadeSession(stages, settings, Opening(tools=(CLOCK,))), {"get_time": {"time": "14:05"}}) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        await talk.until(ReplyDone, 3)
        await talk.hears("thank you")
        await talk.until(ReplyDone, 6)
        assert model.offered == [1, 1, 0, 1, 1, 0]
        assert [call.call for call in talk.of(ToolCall)] == ["c1", "c2", "c4", "c5"]


# -- without a network -------------------------------------------------------------------------------------------------------------


async def test_the_local_service_answers() -> None:
    async with talking(build(Settings(), "local")(Opening(tools=(CLOCK,))), {"get_time": {"time": "14:05"}}) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        done = await talk.until(ReplyDone)
        assert talk.said(done.reply) == "It is two oh five."


async def test_the_local_service_says_that_it_did_not_understand() -> None:
    async with talking(build(Settings(), "local")()) as talk:
        await talk.until(Ready)
        await talk.hears("please order twelve pizzas for tomorrow")
        done = await talk.until(ReplyDone)
        assert talk.said(done.reply) == NOT_UNDERSTOOD
        assert talk.heard == []


async def test_when_the_network_is_gone_the_local_service_takes_over_and_says_so_once() -> None:
    async with serving() as server:
        gone = at(server)
    providers = [Provider("cascade", build(gone)), Provider("local", build(Settings(), "local"))]

    async def declared() -> tuple[Declaration, ...]:
        return (CLOCK,)

    async with talking(Durable(providers, declared)(), {"get_time": {"time": "14:05"}}) as talk:
        await talk.until(Ready)
        await talk.hears("what time is it")
        await talk.until(ReplyDone, 2)
        await talk.hears("what time is it")
        await talk.until(ReplyDone, 3)
        assert [talk.said(done.reply) for done in talk.of(ReplyDone)] == [STANDS_IN, "It is two oh five.", "It is two oh five."]


@pytest.mark.parametrize(("heard_ms", "again"), [(0, True), (60_000, False)])
async def test_that_another_provider_answers_is_said_until_it_was_heard(heard_ms: int, again: bool) -> None:
    session = build(Settings(greeting="Kitchen here."), "local")(Opening(tools=(CLOCK,), instead_of="cascade"))
    async with talking(session, {"get_time": {"time": "14:05"}}) as talk:
        greeting = await talk.until(ReplyDone)
        assert talk.said(greeting.reply) == f"{STANDS_IN} Kitchen here."
        await talk.session.interrupt(greeting.reply, heard_ms, by_service=True)  # the person asks in one breath with the wake word
        await talk.hears("what time is it")
        await talk.until(ReplyText, when=lambda event: event.text == "It is two oh five.")
        assert ("".join(event.text for event in talk.of(ReplyText)).count(STANDS_IN) == 2) is again


# -- what goes wrong ---------------------------------------------------------------------------------------------------------------

STAGES = {"hear": "speech to text", "think": "language model", "speak": "text to speech"}
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"refuse_key": True}, "config"),
    ({"refuse_upgrade": 503}, "retryable"),
    ({"stall_after_accept": True}, "retryable"),
    ({"stall_at_ready": True}, "retryable"),
    ({"stall_mid_reply": True}, "retryable"),
    ({"drop_mid_reply": True}, "retryable"),
    ({"cut_mid_reply": True}, "retryable"),
]


OF_STAGES = [("think", *each) for each in FAULTS] + [
    ("hear", fault, kind) for fault, kind in FAULTS if not next(iter(fault)).endswith("mid_reply")
]
"""A transcription has no middle."""


@pytest.mark.parametrize(
    ("stage", "fault", "kind"), OF_STAGES, ids=lambda value: next(iter(value)) if isinstance(value, dict) else ""
)
async def test_each_fault_of_each_stage_ends_in_one_event(stage: str, fault: dict[str, Any], kind: str) -> None:
    async with serving(**fault, stage=stage) as server, talking(build(at(server, connect_s=1.0, read_s=1.0))()) as talk:
        await talk.until(Ready)
        await talk.hears("tell me a story")
        failed = await talk.until(Failed)
        assert (failed.kind, failed.reason.partition(":")[0]) == (kind, STAGES[stage])
        await talk.reading
        assert talk.events[-1] == failed


async def test_a_stage_that_cannot_be_reached_is_no_session() -> None:
    async with serving() as server:
        settings = at(server)
    async with talking(build(settings)()) as talk:
        failed = await talk.until(Failed)
        assert failed.kind == "retryable"
        assert talk.events == [failed]


# -- the end -----------------------------------------------------------------------------------------------------------------------


async def test_it_can_be_closed_at_any_time() -> None:
    async with serving(Conduct(think_s=0.1, word_s=0.01)) as server:
        opener = build(at(server))
        for moment in (None, Ready, UserStarted, UserStopped, UserText, ReplyStarted, ReplyAudio):
            async with talking(opener()) as talk:
                hearing = asyncio.create_task(talk.hears("tell me a story"))
                if moment is not None:
                    await talk.until(Ready)
                    await talk.hears("tell me a story")
                    await talk.until(moment)
                hearing.cancel()
                await talk.session.close()
                await talk.reading
                assert isinstance(talk.events[-1], Ended)
                for call in (talk.session.end_turn(), talk.session.generate("x"), talk.session.audio(bytes(640))):
                    await call
    assert all(not connection for connection in [server._undecided])


async def test_it_is_iterated_once() -> None:
    session = build(Settings(), "local")()
    async with talking(session) as talk:
        await talk.until(Ready)
        with pytest.raises(RuntimeError, match="once"):
            await anext(aiter(session.events()))


async def test_sound_before_and_after_is_dropped() -> None:
    session = build(Settings(), "local")()
    await session.audio(np.ones(640, np.int16).tobytes())
    await session.close()
    assert [event async for event in session.events()] == [Ended("closed here")]
    await session.interrupt(None, 0, by_service=False)
    await session.tool_result("c", NO_OBJECT, is_error=True)
