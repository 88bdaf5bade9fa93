from __future__ import annotations

import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core import events, machine
from pipit.core.events import (
    CaptureRunning,
    CloseSession,
    Command,
    Event,
    Interrupt,
    OpenSession,
    PlayCue,
    StartCapture,
    StopCapture,
    TimePassed,
    VoiceHeard,
)
from pipit.core.machine import CONVERSING, MEANING, ONE_QUESTION, TRANSITIONS, Limits, Machine, State, Uplink

WAKE = events.WakeHeard("hey_jarvis", 0.9, 16000)

FED: dict[type[Event], Event] = {
    kind: WAKE
    if kind is events.WakeHeard
    else events.SessionFailed("no route")
    if kind is events.SessionFailed
    else events.CaptureLost("unplugged")
    if kind is events.CaptureLost
    else kind()
    for _, kind in inspect.getmembers(events, inspect.isclass)
    if issubclass(kind, Event) and kind not in (Event, events.VoiceEnded, events.VoiceOverEnded, events.ConversationTooLong)
}
"""One of each event that can be fed to the machine."""


def in_state(state: State, limits: Limits = Limits(), table: machine.Table = TRANSITIONS) -> Machine:  # noqa: B008
    """Return a machine that was led to a state by events, at time 0."""
    paths: dict[State, list[Event]] = {
        State.STARTING: [],
        State.IDLE: [CaptureRunning()],
        State.CONNECTING: [CaptureRunning(), WAKE],
        State.LISTENING: [CaptureRunning(), WAKE, events.SessionReady()],
        State.HEARING: [CaptureRunning(), WAKE, events.SessionReady(), events.UserStarted()],
        State.THINKING: [CaptureRunning(), WAKE, events.SessionReady(), events.UserStarted(), events.UserStopped()],
        State.SPEAKING: [CaptureRunning(), WAKE, events.SessionReady(), events.ReplyExpected(), events.ReplyAudible()],
        State.MUTED: [CaptureRunning(), events.Held()],
        State.FAULT: [CaptureRunning(), WAKE, events.SessionFailed("no route")],
        State.STOPPED: [events.StopRequested()],
    }
    m = Machine(limits, table)
    for event in paths[state]:
        m.feed(event, 0.0)
    assert m.state is state
    return m


def names(commands: tuple[Command, ...]) -> list[str]:
    return [c.name if isinstance(c, PlayCue) else type(c).__name__ for c in commands]


@pytest.mark.parametrize("state", State)
def test_every_state_has_a_meaning(state: State) -> None:
    assert state in MEANING
    limit = MEANING[state].limit
    assert limit is None or limit in Limits.__dataclass_fields__


def test_a_state_that_can_end_by_time_has_a_row_for_it_and_the_other_way_round() -> None:
    timed = {state for state, meaning in MEANING.items() if meaning.limit}
    assert timed == {state for state, event in TRANSITIONS if event is TimePassed}


def test_only_a_conversation_lets_sound_out() -> None:
    """The promise: nothing leaves the device before it is called."""
    assert {state for state, meaning in MEANING.items() if meaning.uplink is not Uplink.CLOSED} < set(CONVERSING)


def test_only_a_wake_word_or_the_button_opens_a_session() -> None:
    opening = {event for (_, event), (_, commands) in TRANSITIONS.items() if OpenSession() in commands}
    assert opening == {events.WakeHeard, events.Pressed}


def test_the_pairs_that_mean_nothing() -> None:
    """A pair missing from the table is a decision; here they all are. Change this list only with a reason."""
    missing = {
        state: sorted(kind.__name__ for kind in FED if (state, kind) not in TRANSITIONS and kind is not TimePassed)
        for state in State
    }
    service = [
        "GreetingFinished",
        "ReplyAudible",
        "ReplyExpected",
        "ReplyFinished",
        "ReplyInterrupted",
        "ToolsRunning",
        "ToolStillRuns",
    ]
    session = ["SessionEnded", "SessionFailed", "SessionReady"]
    user = ["UserStarted", "UserStopped", "VoiceHeard", "VoiceOver"]
    assert missing == IGNORED(service, session, user)


def IGNORED(service: list[str], session: list[str], user: list[str]) -> dict[State, list[str]]:
    everything = sorted(kind.__name__ for kind in FED if kind is not TimePassed)
    return {
        State.STARTING: sorted([*service, *session, *user, "CaptureLost", "Pressed", "WakeHeard"]),
        State.IDLE: sorted([*service, *session, *user, "CaptureRunning"]),
        State.CONNECTING: sorted([*service, *user, "CaptureRunning", "WakeHeard"]),
        State.LISTENING: sorted(
            [
                "GreetingFinished",
                "ReplyFinished",
                "ReplyInterrupted",
                "SessionReady",
                "ToolStillRuns",
                "CaptureRunning",
                "VoiceOver",
                "WakeHeard",
            ]
        ),
        State.HEARING: sorted(
            [
                "GreetingFinished",
                "ReplyFinished",
                "ReplyInterrupted",
                "SessionReady",
                "ToolsRunning",
                "ToolStillRuns",
                "CaptureRunning",
                "UserStarted",
                "VoiceHeard",
                "VoiceOver",
                "WakeHeard",
            ]
        ),
        State.THINKING: sorted(["SessionReady", "CaptureRunning", "UserStopped", "VoiceHeard", "VoiceOver"]),
        State.SPEAKING: sorted(["SessionReady", "CaptureRunning", "ReplyAudible", "ReplyExpected", "ToolStillRuns", *user[:3]]),
        State.MUTED: sorted([*service, *session, *user, "CaptureLost", "CaptureRunning", "Pressed", "WakeHeard"]),
        State.FAULT: sorted([*service, *session, *user, "CaptureRunning"]),
        State.STOPPED: everything,
    }


def test_what_is_ignored_is_counted_and_changes_nothing() -> None:
    m = in_state(State.IDLE)
    assert m.feed(events.UserStarted(), 1.0) == ()
    assert m.state is State.IDLE
    assert m.ignored == {(State.IDLE, events.UserStarted): 1}


def test_the_wake_word_opens_one_session_and_the_reply_can_be_cut_by_the_button() -> None:
    m = Machine()
    m.feed(CaptureRunning(), 0.0)
    assert names(m.feed(WAKE, 1.0)) == ["wake", "OpenSession"]
    for event in (events.SessionReady(), events.UserStarted(), events.UserStopped(), events.ReplyExpected()):
        assert m.feed(event, 2.0) == ()
    m.feed(events.ReplyAudible(), 3.0)
    assert m.state is State.SPEAKING
    assert m.feed(events.Pressed(), 4.0) == (Interrupt(),)
    assert m.state is State.LISTENING


def test_listening_ends_by_itself() -> None:
    m = in_state(State.LISTENING, Limits(idle_s=8))
    assert m.deadline == 8
    assert m.feed(TimePassed(), 7.9) == ()
    assert names(m.feed(TimePassed(), 8.0)) == ["CloseSession", "done"]
    assert m.state is State.IDLE
    assert m.deadline is None


def test_somebody_talking_puts_the_end_of_listening_off_but_not_for_ever() -> None:
    m = in_state(State.LISTENING, Limits(idle_s=8, utterance_s=20))
    m.feed(VoiceHeard(), 7.0)
    assert m.deadline == 15
    m.feed(VoiceHeard(), 14.0)
    assert m.deadline == 20


def test_a_conversation_has_a_longest_duration_that_never_cuts_a_reply() -> None:
    m = in_state(State.SPEAKING, Limits(conversation_s=100, reply_s=600))
    assert m.deadline == 600
    m.feed(events.ReplyFinished(), 150.0)
    assert m.deadline == 100
    assert names(m.feed(TimePassed(), 150.0)) == ["CloseSession", "done"]
    assert m.state is State.IDLE


def test_one_question_only_where_follow_up_is_off() -> None:
    m = in_state(State.SPEAKING, table={**TRANSITIONS, **ONE_QUESTION})
    assert names(m.feed(events.ReplyFinished(), 1.0)) == ["CloseSession", "done"]
    m = in_state(State.SPEAKING, table={**TRANSITIONS, **ONE_QUESTION})
    m.feed(events.GreetingFinished(), 1.0)
    assert m.state is State.LISTENING


@pytest.mark.parametrize("state", [s for s in State if s not in (State.STOPPED, State.MUTED)])
def test_mute_works_everywhere(state: State) -> None:
    m = in_state(state)
    commands = m.feed(events.Held(), 1.0)
    assert m.state is State.MUTED
    assert StopCapture() in commands
    assert (CloseSession() in commands) == (state in CONVERSING)
    assert m.feed(events.Held(), 2.0) == (StartCapture(),)
    assert m.state is State.STARTING


anything = st.sampled_from(list(FED.values()))
steps = st.lists(st.tuples(anything, st.floats(0.0, 120.0)), max_size=60)


@given(steps)
def test_sessions_opened_and_closed_balance(steps: list[tuple[Event, float]]) -> None:
    m, now, open_sessions = Machine(), 0.0, 0
    for event, pause in steps:
        now += pause
        for command in m.feed(event, now):
            if command == OpenSession():
                open_sessions += 1
            if command == CloseSession():
                open_sessions -= 1
            assert open_sessions in (0, 1)
        assert (open_sessions == 1) == (m.state in CONVERSING)


@given(steps)
def test_time_alone_leads_home(steps: list[tuple[Event, float]]) -> None:
    m, now = Machine(), 0.0
    for event, pause in steps:
        now += pause
        m.feed(event, now)
    for _ in range(20):
        if m.deadline is None:
            break
        now = max(now, m.deadline)
        m.feed(TimePassed(), now)
    assert m.state in (State.STARTING, State.IDLE, State.MUTED, State.STOPPED)


@given(steps)
def test_capture_is_stopped_exactly_while_muted(steps: list[tuple[Event, float]]) -> None:
    m, now, running = Machine(), 0.0, True
    for event, pause in steps:
        now += pause
        for command in m.feed(event, now):
            running = command == StartCapture() or (running and command != StopCapture())
        if m.state is not State.STOPPED:
            assert running == (m.state is not State.MUTED)


def test_the_diagram_shows_every_state_and_event() -> None:
    drawn = machine.diagram()
    for state in State:
        assert state.name in drawn
    for _, event in TRANSITIONS:
        assert event in (VoiceHeard, events.ToolStillRuns) or event.__name__ in drawn
