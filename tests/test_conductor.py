"""What happens at the seams: two conversations at once, a stall, a finger as quick as the service, a device without sound."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from pipit import services
from pipit.audio import file
from pipit.core import events
from pipit.core.machine import Limits, State
from pipit.errors import HardwareError
from pipit.services import Capabilities
from pipit.tools import Outcome
from tests import speech
from tests.stage import RATE_HZ, Script, Stage, asked, reply, tape

CHATTER = speech.say("once upon a time there was a bird that lived in a tall tree and sang all day long", rate_hz=RATE_HZ)


def loud(session: Script, since: int = 0) -> list[bool]:
    return [bool(message.any()) for message in session.sent[since:]]


async def test_a_conversation_that_begins_while_the_last_one_says_goodbye_is_heard() -> None:
    slow, second = Script(close_s=0.5), Script()
    async with Stage(slow, second) as stage:
        await stage.until(State.IDLE)
        await stage.called(slow)
        slow.reports(services.Failed("retryable", "the network is gone"))
        await stage.until(State.FAULT)
        await stage.called(second)
        await asyncio.sleep(0.7)  # meanwhile the first one is closed
        before = len(second.sent)
        await stage.until(lambda: len(second.sent) > before + 10)


async def test_what_a_stalled_socket_takes_late_holds_nothing_of_pipits_own_voice() -> None:
    session = Script()
    async with Stage(session, microphone=CHATTER) as stage:
        await stage.until(State.IDLE)
        await stage.called(session)
        await stage.until(lambda: any(loud(session)))
        session.reports(*asked(), *reply("r", 1.5))
        await stage.until(State.SPEAKING)
        session.takes_sound.clear()
        spoke_from = len(session.sent) + 1  # one is on its way
        await stage.until(State.LISTENING)
        await asyncio.sleep(0.5)
        session.takes_sound.set()
        await stage.until(lambda: len(session.sent) > spoke_from + 45)
    heard = loud(session, spoke_from)
    assert not any(heard[:35]), "the service heard 1.4 s of the reply"
    assert any(heard[44:])


@pytest.mark.parametrize("trial", range(3))
async def test_where_pipit_finds_turns_its_own_voice_is_nobodys_turn(trial: int) -> None:
    """The room answers with chatter while Pipit speaks, and falls silent with it."""

    class Room(file.FileDevice):
        def _tape(self, start: int, stop: int) -> Any:
            speaks = self.mixer.level_dbfs > -60
            return np.resize(CHATTER, stop)[start:stop] if speaks else np.zeros(stop - start, np.int16)

    session = Script(dataclasses.replace(Capabilities(), server_turns=False))
    device = Room(file.Settings(output=file.Output(rate=RATE_HZ)), np.empty(0, np.int16), RATE_HZ)
    async with Stage(session, device=device) as stage:
        await stage.until(State.IDLE)
        await stage.called(session)
        session.reports(*reply("greeting", 1.2 + 0.1 * trial))
        await stage.until(State.SPEAKING)
        await stage.until(State.LISTENING)
        await asyncio.sleep(1.0)
        assert ("end_turn",) not in session.calls
        assert stage.machine.state is State.LISTENING


@pytest.mark.parametrize("over", [True, False], ids=["over", "still talking"])
async def test_where_pipit_finds_turns_what_was_said_before_there_is_a_session_is_a_turn(over: bool) -> None:
    session = Script(dataclasses.replace(Capabilities(), server_turns=False))
    settings = file.Settings(input=file.Input(at_end="silence"), output=file.Output(rate=RATE_HZ))
    question = speech.say("what time is it", rate_hz=RATE_HZ)
    device = file.FileDevice(settings, np.concatenate((np.zeros(RATE_HZ // 2, np.int16), question)), RATE_HZ)
    async with Stage(session, device=device) as stage:
        await stage.until(State.IDLE)
        stage.conductor.feed(events.Pressed())
        await stage.until(lambda: stage.hearing.talking)
        if over:
            await stage.until(lambda: not stage.hearing.talking)
        session.reports(services.Ready("a session"))
        await stage.until(lambda: ("end_turn",) in session.calls)
        stage.conductor.feed(events.VoiceHeard())  # of the same voice, told late
        await asyncio.sleep(0)
        assert stage.machine.state is State.THINKING
        assert session.calls == [("end_turn",)]
        assert any(loud(session)), "it was sent before"


@pytest.mark.parametrize("made", [(), (services.ReplyStarted("r"),)], ids=["not begun", "begun"])
async def test_where_pipit_finds_turns_who_goes_on_after_a_pause_is_not_answered_half_way(made: tuple[services.Event, ...]) -> None:
    session = Script(dataclasses.replace(Capabilities(), server_turns=False))
    settings = file.Settings(input=file.Input(at_end="silence"), output=file.Output(rate=RATE_HZ))
    half, pause = speech.say("what time is it", rate_hz=RATE_HZ), np.zeros(RATE_HZ * 3 // 2, np.int16)
    async with Stage(session, device=file.FileDevice(settings, np.concatenate((pause, half, pause, half)), RATE_HZ)) as stage:
        await stage.until(State.IDLE)
        await stage.called(session)
        await stage.until(lambda: ("end_turn",) in session.calls)
        session.reports(*made)
        await stage.until(lambda: session.calls.count(("end_turn",)) == 2)
        assert session.calls == [("end_turn",), ("interrupt", "r" if made else None), ("end_turn",)]
        assert stage.machine.state is State.THINKING
        session.reports(*reply("answer", 0.3))
        await stage.until(State.SPEAKING)


async def test_a_tool_slower_than_an_answer_may_be_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipit.conversation._STILL_RUNS_S", 0.1)

    class Slow:
        async def run(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
            await asyncio.sleep(1.6)
            return Outcome("{}")

    session = Script()
    async with Stage(session, tools=Slow(), limits=Limits(answer_s=1.2)) as stage:
        await stage.until(State.IDLE)
        await stage.called(session)
        session.reports(*asked(), services.ToolCall("c", "slow", {}))
        await stage.until(lambda: ("tool_result", "c") in session.calls)
        assert stage.machine.state is State.THINKING
        session.reports(*reply("r", 0.3))
        await stage.until(State.SPEAKING)
        await stage.until(State.LISTENING)


async def test_whoever_stops_the_goodbye_stays_in_the_conversation() -> None:
    class Farewell:
        async def run(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
            return Outcome("{}", ends_conversation=True)

    session = Script()
    async with Stage(session, tools=Farewell()) as stage:
        await stage.until(State.IDLE)
        await stage.called(session)
        session.reports(*asked(), services.ToolCall("c", "stop", {}))
        await stage.until(lambda: ("tool_result", "c") in session.calls)
        session.reports(*reply("goodbye", 3.0))
        await stage.until(State.SPEAKING)
        stage.conductor.feed(events.Pressed())
        await stage.until(State.LISTENING)
        session.reports(*asked(), *reply("answer", 0.3))
        await stage.until(State.SPEAKING)
        await stage.until(lambda: stage.machine.state is not State.SPEAKING)
        assert stage.machine.state is State.LISTENING


@pytest.mark.parametrize("late", [False, True])
async def test_a_press_that_the_service_overtook_does_not_cut_the_answer(late: bool) -> None:
    session = Script()
    async with Stage(session) as stage:
        await stage.until(State.IDLE)
        await stage.called(session)
        session.reports(services.UserStarted())
        await stage.until(State.HEARING)
        stage.conductor.post_edge(events.Edge(True, time.monotonic()))
        await asyncio.sleep(0.1)
        if late:
            session.reports(services.UserStopped())
            await stage.until(State.THINKING)
        stage.conductor.post_edge(events.Edge(False, time.monotonic()))
        await stage.until(State.THINKING)
        await asyncio.sleep(0.1)
        assert stage.machine.state is State.THINKING
        assert session.calls == ([] if late else [("end_turn",)])


async def test_the_wake_word_while_the_answer_is_awaited_sends_nothing_twice() -> None:
    session = Script()
    counting = (np.arange(16 * RATE_HZ) // 640 + 1).astype(np.int16)  # each message is a number of its own
    async with Stage(session, microphone=counting) as stage:
        await stage.until(State.IDLE)
        await stage.called(session)
        session.reports(*asked())
        await stage.until(State.THINKING)
        await stage.until(lambda: len(session.sent) > 30)
        stage.conductor.post(events.WakeHeard("hey", 0.9, stage.hearing.heard.written))
        await stage.until(State.LISTENING)
        before = len(session.sent)
        await stage.until(lambda: len(session.sent) > before + 10)
    levels = np.array([int(np.median(message)) for message in session.sent])
    assert (np.diff(levels) >= 0).all(), levels


async def test_after_a_stall_the_pace_holds() -> None:
    session = Script(dataclasses.replace(Capabilities(), pace=1.5))
    async with Stage(session, limits=Limits(idle_s=60)) as stage:
        await stage.until(State.IDLE)
        await stage.called(session)
        await asyncio.sleep(1)
        session.takes_sound.clear()
        await asyncio.sleep(1.5)
        before = len(session.sent)
        began = time.monotonic()
        session.takes_sound.set()
        await asyncio.sleep(0.5)
        sent_s, took_s = (len(session.sent) - before) * 0.04, time.monotonic() - began
        assert sent_s < 1.5 * took_s + 0.5
        await stage.until(lambda: len(session.sent) > before + 10)


async def test_a_voice_from_before_the_turn_is_not_its_end_of_speech() -> None:
    session = Script()
    async with Stage(session) as stage:
        await stage.until(State.IDLE)
        await asyncio.sleep(1)
        await stage.called(session)
        session.reports(*asked(), *reply("r", 0.3))
        await stage.until(lambda: stage.of("turn"))
    [turn] = stage.of("turn")
    assert turn["end_of_speech_to_audible_ms"] is None
    assert turn["speech_ms"] is None
    assert turn["end_of_turn_to_audible_ms"] >= 0


async def test_what_pipit_itself_does_wrong_ends_it() -> None:
    def broken() -> Script:
        raise OSError(24, "Too many open files")

    async with Stage(broken) as stage:
        await stage.until(State.IDLE)
        stage.conductor.feed(events.Pressed())
        await stage.until(lambda: stage.died)
    assert isinstance(stage.died[0], OSError)


async def test_a_device_that_opens_and_delivers_nothing_is_complained_about_once() -> None:
    class Dumb(file.FileDevice):
        opened = 0

        def open(self) -> None:
            Dumb.opened += 1

        def close(self) -> None:
            pass

        def failure(self, now: float) -> str | None:
            return "the microphone has stopped"

    async with Stage(device=Dumb(file.Settings(), np.empty(0, np.int16), RATE_HZ)) as stage:
        await stage.until(lambda: Dumb.opened == 3)
        assert [record["message"] for record in stage.of("device_missing")] == ["the microphone has stopped"]
        assert stage.machine.state is State.STARTING


async def test_what_is_left_of_a_lost_device_does_not_pass_for_a_new_one() -> None:
    class Slow(file.FileDevice):
        lost = False

        def open(self) -> None:
            if self.lost:
                raise HardwareError("it is gone")
            super().open()

        def failure(self, now: float) -> str | None:
            return "the microphone has stopped" if self.lost else None

    device = Slow(file.Settings(output=file.Output(rate=RATE_HZ)), np.empty(0, np.int16), RATE_HZ)
    async with Stage(device=device) as stage:
        await stage.until(State.IDLE)
        device.lost = True
        await stage.until(State.STARTING)
        device.captured.write(np.zeros(RATE_HZ, np.int16))  # what the dsp thread had not read yet
        frames = stage.hearing.frames
        device._bell.ring()
        await stage.until(lambda: stage.hearing.frames > frames + 10)
        await stage.until(lambda: stage.of("device_missing"))
        assert stage.machine.state is State.STARTING


def test_sounds_do_not_pile_up_where_nobody_plays_them() -> None:
    device = tape()
    for _ in range(60):
        device.mixer.cue(np.full(800, 1000, np.int16))
    played = np.concatenate([device.mixer.pull(320).copy() for _ in range(10)])
    assert 0 < np.abs(played).max() <= 3000 * 0.6**3 + 1, "more than three at once"
