"""What Pipit does when something happens: one table of transitions, one table of what each state means.

Theory of operation. `Machine.feed(event, now)` looks up (state, type of event), changes the state and returns the commands of
that row. Time enters as `now` and leaves as `deadline`: whoever owns the machine feeds `TimePassed` then. A pair that is not in the
table changes nothing and is counted; `tests/core/test_machine.py` pins the list of such pairs, so that none is missing by accident.

Everything that the machine knows is in the two tables. There is no flag beside the state, and no rule outside the tables but two,
which are about time: sound in LISTENING puts the time limit off, at most to the longest utterance; and a conversation has a longest
duration, which never cuts a reply.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from pipit.core.events import (
    CaptureLost,
    CaptureRunning,
    CloseSession,
    Command,
    ConversationTooLong,
    EndTurn,
    Event,
    Exit,
    GreetingFinished,
    Held,
    Interrupt,
    OpenSession,
    PlayCue,
    Pressed,
    ReplyAudible,
    ReplyExpected,
    ReplyFinished,
    ReplyInterrupted,
    SessionEnded,
    SessionFailed,
    SessionReady,
    StartCapture,
    StopCapture,
    StopRequested,
    TimePassed,
    ToolsRunning,
    ToolStillRuns,
    UserStarted,
    UserStopped,
    VoiceHeard,
    VoiceOver,
    WakeHeard,
)


class State(Enum):
    """What Pipit is doing, in the words of `pipit status` and PIPIT_STATE."""

    STARTING = "starting"  # no sound from the microphone yet, or no longer
    IDLE = "idle"  # waits for the wake word; nothing leaves the device
    CONNECTING = "connecting"  # was called; the service has not answered yet; what is said meanwhile is kept
    LISTENING = "listening"  # the service listens; nobody has spoken yet
    HEARING = "hearing"  # the person talks
    THINKING = "thinking"  # the turn is over; nothing of the reply is audible yet
    SPEAKING = "speaking"  # the reply comes out of the loudspeaker
    MUTED = "muted"  # the microphone's stream is stopped
    FAULT = "fault"  # the service could not be reached or refused; a wake word tries again
    STOPPED = "stopped"


class Uplink(Enum):
    """What the service gets to hear in a state."""

    CLOSED = "closed"  # nothing: there is no session, or it is not ready
    OPEN = "open"  # the microphone
    DUPLEX = "duplex"  # who talks over Pipit, where the echo canceller allows it, else silence, so that the service's clock runs on


class Meaning(NamedTuple):
    """What a state implies, apart from its light (see `core.lights`)."""

    wake: bool
    """Whether a wake word counts."""
    uplink: Uplink
    limit: str | None
    """Which field of `Limits` ends the state."""
    at_once: bool = False
    """Whether a press of the button counts as it goes down. Elsewhere it counts as it comes up, because it may yet become a hold,
    and a hold that mutes must not have opened a session or ended a turn first. See `core.gestures`."""


@dataclass(frozen=True)
class Limits:
    """How long a state may last, in seconds."""

    connect_s: float = 10
    idle_s: float = 8
    utterance_s: float = 60
    answer_s: float = 30
    reply_s: float = 600
    fault_s: float = 4
    conversation_s: float = 900
    """All states of one conversation together; a reply is never cut by it."""


MEANING: Mapping[State, Meaning] = {
    State.STARTING: Meaning(False, Uplink.CLOSED, None),
    State.IDLE: Meaning(True, Uplink.CLOSED, None),
    State.CONNECTING: Meaning(False, Uplink.CLOSED, "connect_s"),
    State.LISTENING: Meaning(False, Uplink.OPEN, "idle_s"),
    State.HEARING: Meaning(False, Uplink.OPEN, "utterance_s"),
    State.THINKING: Meaning(True, Uplink.OPEN, "answer_s", at_once=True),
    State.SPEAKING: Meaning(True, Uplink.DUPLEX, "reply_s", at_once=True),
    State.MUTED: Meaning(False, Uplink.CLOSED, None),
    State.FAULT: Meaning(True, Uplink.CLOSED, "fault_s"),
    State.STOPPED: Meaning(False, Uplink.CLOSED, None),
}

CONVERSING = (State.CONNECTING, State.LISTENING, State.HEARING, State.THINKING, State.SPEAKING)
"""The states in which there is a session."""

Row = tuple[State, tuple[Command, ...]]
Table = Mapping[tuple[State, type[Event]], Row]

_CALL: Row = (State.CONNECTING, (PlayCue("wake"), OpenSession()))
_LEAVE: Row = (State.IDLE, (CloseSession(), PlayCue("done")))
_FAIL: Row = (State.FAULT, (CloseSession(), PlayCue("error")))
_CUT_IN: Row = (State.LISTENING, (Interrupt(),))

TRANSITIONS: Table = {
    (State.STARTING, CaptureRunning): (State.IDLE, ()),
    (State.IDLE, WakeHeard): _CALL,
    (State.IDLE, Pressed): _CALL,
    (State.FAULT, WakeHeard): _CALL,
    (State.FAULT, Pressed): _CALL,
    (State.FAULT, TimePassed): (State.IDLE, ()),
    (State.CONNECTING, SessionReady): (State.LISTENING, ()),
    (State.CONNECTING, Pressed): _LEAVE,
    (State.CONNECTING, TimePassed): _FAIL,
    (State.LISTENING, UserStarted): (State.HEARING, ()),
    (State.LISTENING, UserStopped): (State.THINKING, ()),
    (State.LISTENING, VoiceHeard): (State.LISTENING, ()),
    (State.LISTENING, ReplyExpected): (State.THINKING, ()),
    (State.LISTENING, ReplyAudible): (State.SPEAKING, ()),
    (State.LISTENING, ToolsRunning): (State.THINKING, ()),
    (State.LISTENING, Pressed): _LEAVE,
    (State.LISTENING, TimePassed): _LEAVE,
    (State.HEARING, UserStopped): (State.THINKING, ()),
    (State.HEARING, ReplyExpected): (State.THINKING, ()),
    (State.HEARING, ReplyAudible): (State.SPEAKING, ()),
    (State.HEARING, Pressed): (State.THINKING, (EndTurn(),)),
    (State.HEARING, TimePassed): (State.THINKING, (EndTurn(),)),
    (State.THINKING, UserStarted): (State.HEARING, ()),
    (State.THINKING, ReplyExpected): (State.THINKING, ()),
    (State.THINKING, ReplyAudible): (State.SPEAKING, ()),
    (State.THINKING, ReplyFinished): (State.LISTENING, ()),
    (State.THINKING, GreetingFinished): (State.LISTENING, ()),
    (State.THINKING, ToolsRunning): (State.THINKING, ()),
    (State.THINKING, ToolStillRuns): (State.THINKING, ()),
    (State.THINKING, ReplyInterrupted): (State.HEARING, ()),
    (State.THINKING, Pressed): _CUT_IN,
    (State.THINKING, WakeHeard): _CUT_IN,
    (State.THINKING, TimePassed): _FAIL,
    (State.SPEAKING, ReplyFinished): (State.LISTENING, ()),
    (State.SPEAKING, GreetingFinished): (State.LISTENING, ()),
    (State.SPEAKING, ToolsRunning): (State.THINKING, ()),
    (State.SPEAKING, ReplyInterrupted): (State.HEARING, ()),
    (State.SPEAKING, VoiceOver): (State.HEARING, (Interrupt(),)),
    (State.SPEAKING, Pressed): _CUT_IN,
    (State.SPEAKING, WakeHeard): _CUT_IN,
    (State.SPEAKING, TimePassed): _CUT_IN,
    (State.MUTED, Held): (State.STARTING, (StartCapture(),)),
    **{(state, ConversationTooLong): _LEAVE for state in CONVERSING if state is not State.SPEAKING},
    **{(state, SessionEnded): _LEAVE for state in CONVERSING},
    **{(state, SessionFailed): _FAIL for state in CONVERSING},
    **{(state, CaptureLost): (State.STARTING, (CloseSession(), PlayCue("error"))) for state in CONVERSING},
    **{(state, CaptureLost): (State.STARTING, ()) for state in (State.IDLE, State.FAULT)},
    **{(state, Held): (State.MUTED, (CloseSession(), StopCapture(), PlayCue("done"))) for state in CONVERSING},
    **{(state, Held): (State.MUTED, (StopCapture(), PlayCue("done"))) for state in (State.STARTING, State.IDLE, State.FAULT)},
    **{(state, StopRequested): (State.STOPPED, (CloseSession(), Exit())) for state in CONVERSING},
    **{(state, StopRequested): (State.STOPPED, (Exit(),)) for state in (State.STARTING, State.IDLE, State.MUTED, State.FAULT)},
}

ONE_QUESTION: Table = {(State.SPEAKING, ReplyFinished): _LEAVE}
"""Laid over TRANSITIONS where `conversation.follow_up` is off: the conversation ends with the reply."""


class Machine:
    """Holds the state and its deadline.

    Args:
        limits: how long states may last.
        table: transitions, normally TRANSITIONS or it with an overlay.
        now: the time at which the machine starts, in seconds.
    """

    def __init__(self, limits: Limits = Limits(), table: Table = TRANSITIONS, *, now: float = 0.0) -> None:
        self.state = State.STARTING
        self.since = now
        """When the state was entered, in seconds; staying in a state does not move it."""
        self.ignored: Counter[tuple[State, type[Event]]] = Counter()
        self._limits = limits
        self._table = table
        self._state_deadline: float | None = None
        self._conversation_deadline: float | None = None
        self._started = now

    @property
    def meaning(self) -> Meaning:
        """What the present state implies."""
        return MEANING[self.state]

    @property
    def deadline(self) -> float | None:
        """When `TimePassed` is due, in seconds, or None."""
        due = [d for d in (self._state_deadline, self._conversation_deadline) if d is not None]
        return min(due) if due else None

    def would(self, event: Event) -> Row | None:
        """Return what an event means in the present state, or None if it means nothing."""
        return self._table.get((self.state, type(event)))

    def feed(self, event: Event, now: float) -> tuple[Command, ...]:
        """Take one event; return what has to be done, in this order.

        Never raises: an event that means nothing in this state is counted in `ignored`.
        """
        if isinstance(event, TimePassed):
            if self.deadline is None or now < self.deadline:
                return ()  # a timer that was overtaken
            if self._conversation_deadline is not None and now >= self._conversation_deadline:
                event = ConversationTooLong()
        row = self.would(event)
        if row is None:
            self.ignored[self.state, type(event)] += 1
            return ()
        state, commands = row
        self._enter(state, now)
        return commands

    def _enter(self, state: State, now: float) -> None:
        limit = MEANING[state].limit
        due = None if limit is None else now + getattr(self._limits, limit)
        if state is not self.state:
            self.since = now
        elif state is State.LISTENING and due is not None:
            due = min(due, self.since + self._limits.utterance_s)  # somebody talks, but perhaps not to us
        self._state_deadline = due
        if state not in CONVERSING:
            self._conversation_deadline = None
        elif self.state not in CONVERSING:
            self._started = now
        if state in CONVERSING:
            too_long = self._started + self._limits.conversation_s
            self._conversation_deadline = None if state is State.SPEAKING else too_long
        self.state = state


def diagram() -> str:
    """Draw TRANSITIONS as a Mermaid state diagram; ARCHITECTURE.md holds the current output."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, event), (target, commands) in TRANSITIONS.items():
        if state is target and not commands:
            continue
        text = event.__name__ + (" / " + ", ".join(_name(c) for c in commands) if commands else "")
        arrows.setdefault((state, target), []).append(text)
    lines = ["stateDiagram-v2", "    [*] --> STARTING"]
    lines += [f"    {a.name} --> {b.name}: {' or '.join(texts)}" for (a, b), texts in arrows.items()]
    return "\n".join([*lines, "    STOPPED --> [*]"])


def _name(command: Command) -> str:
    return f"PlayCue {command.name}" if isinstance(command, PlayCue) else type(command).__name__
