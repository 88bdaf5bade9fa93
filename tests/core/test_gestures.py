from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core.events import Command, Edge, EndTurn, Event, Held, Interrupt, OpenSession, Pressed
from pipit.core.gestures import Gestures
from pipit.core.machine import CONVERSING, Machine, State
from tests.core.test_machine import in_state

HOLD_S, BOUNCE_S = 1.5, 0.02


class Finger:
    """Feeds edges, keeps the timer as a shell does, and writes down what comes out when."""

    def __init__(self, at_once: bool = False) -> None:
        self.gestures = Gestures(HOLD_S, BOUNCE_S)
        self.at_once = at_once
        self.heard: list[tuple[float, type[Event]]] = []

    def edge(self, at: float, pressed: bool) -> None:
        self.wait(at)
        self.heard += [(at, type(event)) for event in self.gestures.feed(Edge(pressed, at), self.at_once)]

    def wait(self, until: float) -> None:
        while self.gestures.deadline is not None and self.gestures.deadline <= until:
            now = self.gestures.deadline
            events = self.gestures.timeout(now)
            self.heard += [(now, type(event)) for event in events]
            assert events or self.gestures.deadline != now, "the timer runs in circles"

    def touch(self, *times: float) -> list[tuple[float, type[Event]]]:
        """Go down and up at these times, and wait."""
        for index, at in enumerate(times):
            self.edge(at, pressed=index % 2 == 0)
        self.wait(times[-1] + 10)
        return self.heard


TABLE: list[tuple[str, bool, Sequence[float], list[tuple[float, type[Event]]]]] = [
    ("a press counts as it comes up", False, (1.0, 1.2), [(1.2, Pressed)]),
    ("a press counts as it goes down", True, (1.0, 1.2), [(1.0, Pressed)]),
    ("a hold counts while it is down", False, (1.0, 4.0), [(2.5, Held)]),
    ("a press at once may become a hold", True, (1.0, 4.0), [(1.0, Pressed), (2.5, Held)]),
    ("just short of a hold", False, (1.0, 2.499), [(2.499, Pressed)]),
    ("just a hold", False, (1.0, 2.5), [(2.5, Held)]),
    ("still down", False, (1.0,), [(2.5, Held)]),
    ("still down, at once", True, (1.0,), [(1.0, Pressed), (2.5, Held)]),
    ("two presses", False, (1.0, 1.1, 1.2, 1.3), [(1.1, Pressed), (1.3, Pressed)]),
    ("two presses at once", True, (1.0, 1.1, 1.2, 1.3), [(1.0, Pressed), (1.2, Pressed)]),
    ("bounces going down", False, (1.0, 1.004, 1.008, 1.2), [(1.2, Pressed)]),
    ("bounces going down, at once", True, (1.0, 1.004, 1.008, 1.2), [(1.0, Pressed)]),
    ("bounces coming up", False, (1.0, 1.2, 1.204, 1.208), [(1.2, Pressed)]),
    ("bounces coming up from a press at once", True, (1.0, 1.2, 1.204, 1.208), [(1.0, Pressed)]),
    ("a touch shorter than a bounce", False, (1.0, 1.005), [(1.02, Pressed)]),
    ("a touch shorter than a bounce, at once", True, (1.0, 1.005), [(1.0, Pressed)]),
    ("down again within the bounce and held", False, (1.0, 1.2, 1.21), [(1.2, Pressed), (2.72, Held)]),
    ("down again within the bounce, at once", True, (1.0, 1.2, 1.21), [(1.0, Pressed), (1.22, Pressed), (2.72, Held)]),
    ("a hold that bounces", False, (1.0, 1.005, 1.01, 4.0), [(2.5, Held)]),
]


@pytest.mark.parametrize(("at_once", "times", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_what_edges_amount_to(at_once: bool, times: Sequence[float], expected: list[tuple[float, type[Event]]]) -> None:
    heard = Finger(at_once).touch(*times)
    assert [kind for _, kind in heard] == [kind for _, kind in expected]
    assert [at for at, _ in heard] == pytest.approx([at for at, _ in expected])


def test_a_button_that_was_down_from_the_start_says_nothing_when_it_comes_up() -> None:
    finger = Finger()
    finger.edge(1.0, pressed=False)
    finger.wait(10)
    assert finger.heard == []


def test_nothing_is_due_while_nobody_touches_the_button() -> None:
    finger = Finger()
    assert finger.gestures.deadline is None
    finger.touch(1.0, 1.2)
    assert finger.gestures.deadline is None


def test_it_is_asked_anew_for_each_touch_whether_it_counts_at_once() -> None:
    finger = Finger(at_once=True)
    finger.edge(1.0, pressed=True)
    finger.at_once = False  # the press changed the state
    finger.edge(1.2, pressed=False)
    finger.edge(2.0, pressed=True)
    finger.at_once = True  # too late for this touch
    finger.edge(2.2, pressed=False)
    finger.edge(3.0, pressed=True)
    assert finger.heard == [(1.0, Pressed), (2.2, Pressed), (3.0, Pressed)]


def test_a_timer_that_comes_early_changes_nothing() -> None:
    gestures = Gestures(HOLD_S, BOUNCE_S)
    gestures.feed(Edge(True, 1.0))
    assert gestures.timeout(2.49) == ()
    assert gestures.timeout(2.5) == (Held(),)
    assert gestures.timeout(2.5) == ()


gaps = st.lists(st.one_of(st.floats(0, 0.05), st.floats(0.05, 3.0)), min_size=1, max_size=12)
clean_gaps = st.lists(st.floats(BOUNCE_S * 3, 3.0), min_size=1, max_size=12)


def moments(lengths: list[float]) -> list[float]:
    now, times = 0.0, []
    for length in lengths:
        now += length
        times.append(now)
    return times


@given(lengths=clean_gaps, at_once=st.booleans())
def test_every_touch_is_a_press_or_a_hold_and_at_once_both(lengths: list[float], at_once: bool) -> None:
    times = moments(lengths)
    ups = [*times[1::2], *([float("inf")] if len(times) % 2 else [])]
    expected: list[type[Event]] = []
    for down, up in zip(times[::2], ups, strict=True):
        held = up >= down + HOLD_S
        expected += [Pressed] * (at_once or not held) + [Held] * held
    assert [kind for _, kind in Finger(at_once).touch(*times)] == expected


@given(lengths=clean_gaps, at_once=st.booleans(), bounces=st.lists(st.floats(0.0001, 0.009), min_size=12, max_size=12))
def test_bouncing_changes_nothing(lengths: list[float], at_once: bool, bounces: list[float]) -> None:
    clean = Finger(at_once).touch(*moments(lengths))
    finger = Finger(at_once)
    pressed = True
    for at, bounce in zip(moments(lengths), bounces, strict=False):
        finger.edge(at, pressed)
        finger.edge(at + bounce, not pressed)
        finger.edge(at + 2 * bounce, pressed)
        pressed = not pressed
    finger.wait(at + 10)
    assert finger.heard == clean


@given(lengths=gaps, at_once=st.booleans())
def test_a_loop_that_was_busy_comes_to_the_same_result(lengths: list[float], at_once: bool) -> None:
    """Edges carry their own time, so it does not matter when they are looked at, nor whether a timer fired in between."""
    times = moments(lengths)
    late = Gestures(HOLD_S, BOUNCE_S)
    heard: list[type[Event]] = []
    for index, at in enumerate(times):
        heard += [type(event) for event in late.feed(Edge(index % 2 == 0, at), at_once)]
    heard += [type(event) for event in late.timeout(times[-1] + 10)]
    heard += [type(event) for event in late.timeout(times[-1] + 20)]
    assert heard == [kind for _, kind in Finger(at_once).touch(*times)]


@given(lengths=gaps, at_once=st.booleans())
def test_bounces_never_make_more_of_a_button_than_there_were_touches(lengths: list[float], at_once: bool) -> None:
    times = moments(lengths)
    heard = [kind for _, kind in Finger(at_once).touch(*times)]
    downs = len(times[::2])
    assert heard.count(Pressed) <= downs
    assert heard.count(Held) <= downs
    if len(times) % 2 == 0 and not at_once:
        assert len(heard) <= downs


# -- with the machine: what the design is for ------------------------------------------------------------------------------------


def touch(machine: Machine, down: float, up: float) -> list[Command]:
    """Press the button as the conductor would; return all commands."""
    gestures = Gestures(HOLD_S, BOUNCE_S)
    commands: list[Command] = []
    for event in gestures.feed(Edge(True, down), machine.meaning.at_once):
        commands += machine.feed(event, down)
    if gestures.deadline is not None and gestures.deadline <= up:
        for event in gestures.timeout(gestures.deadline):
            commands += machine.feed(event, down + HOLD_S)
    for event in gestures.feed(Edge(False, up), machine.meaning.at_once):
        commands += machine.feed(event, up)
    return commands


@pytest.mark.parametrize("state", [state for state in State if state not in (State.MUTED, State.STOPPED)])
def test_a_hold_mutes_from_everywhere_and_never_calls_anybody_first(state: State) -> None:
    machine = in_state(state)
    commands = touch(machine, 0.1, 2.0)
    assert machine.state is State.MUTED
    assert not any(isinstance(command, OpenSession | EndTurn) for command in commands)


def test_a_hold_unmutes() -> None:
    machine = in_state(State.MUTED)
    touch(machine, 0.1, 2.0)
    assert machine.state is State.STARTING


@pytest.mark.parametrize("state", [State.THINKING, State.SPEAKING])
def test_a_press_cuts_in_as_the_button_goes_down_and_goes_on_listening_as_it_comes_up(state: State) -> None:
    machine = in_state(state)
    gestures = Gestures(HOLD_S, BOUNCE_S)
    (event,) = gestures.feed(Edge(True, 0.1), machine.meaning.at_once)
    assert Interrupt() in machine.feed(event, 0.1)
    assert machine.state is State.LISTENING
    assert gestures.feed(Edge(False, 0.3), machine.meaning.at_once) == ()
    assert gestures.timeout(10) == ()


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (State.IDLE, State.CONNECTING),
        (State.FAULT, State.CONNECTING),
        (State.CONNECTING, State.IDLE),
        (State.LISTENING, State.IDLE),
        (State.HEARING, State.THINKING),
        (State.THINKING, State.LISTENING),
        (State.SPEAKING, State.LISTENING),
        (State.MUTED, State.MUTED),
        (State.STARTING, State.STARTING),
    ],
)
def test_a_short_press(state: State, after: State) -> None:
    machine = in_state(state)
    touch(machine, 0.1, 0.3)
    assert machine.state is after


def test_a_press_counts_at_once_only_within_a_conversation() -> None:
    assert {state for state in State if in_state(state).meaning.at_once} <= set(CONVERSING)
