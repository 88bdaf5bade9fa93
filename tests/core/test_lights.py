from __future__ import annotations

import itertools
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipit.core import lights
from pipit.core.lights import FRAME_S, OFF, PATTERNS, Light, light, next_change
from pipit.core.machine import State

SEEN = [state for state in State if state is not State.STOPPED]  # the process ends there, and the lights with it
PAIRS = list(itertools.combinations(SEEN, 2))
VOICED = (State.HEARING, State.SPEAKING)
STILL = (State.IDLE, State.LISTENING, State.STOPPED)
LEVELS = (0.0, 0.3, 0.7, 1.0)
WATCHED = 100
"""Frames in the four seconds that somebody looks."""

states = st.sampled_from(list(State))
moments = st.floats(0, 1e6)
levels = st.floats(0, 1)


def single(shown: Light) -> float:
    """One LED for everything."""
    return min(1.0, sum(shown))


def switched(shown: Light) -> bool:
    """One LED that cannot be dimmed."""
    return single(shown) >= 0.5


def seen(state: State, level: float = 0.0, first: int = 0) -> list[float]:
    """What one LED does for four seconds."""
    return [single(light(state, (first + frame) * FRAME_S, level)) for frame in range(WATCHED)]


def phases(state: State) -> range:
    return range(sum(step.frames for step in PATTERNS[state].steps))


def test_the_drawing_is_what_the_lights_do() -> None:
    rows = re.findall(r"^    ([A-Z]+) +([LTS-]+) +([\d.]{75})   (.+)$", lights.__doc__ or "", re.MULTILINE)
    drawn = {}
    for state in State:
        values = [max(light(state, frame * FRAME_S, 0.0)) for frame in range(75)]
        row = "".join(str(math.ceil(9 * value)) if value else "." for value in values)
        who = "".join(letter for letter, lit in zip("LTS", PATTERNS[state].lit, strict=True) if lit) or "-"
        drawn[state.name] = (who, row, PATTERNS[state].words)
    assert {name: tuple(row) for name, *row in rows} == drawn


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda state: state.name)
def test_any_two_states_differ_on_one_led_whenever_one_begins_to_look(one: State, other: State) -> None:
    """In at least a tenth of four seconds the LED, though it only knows on and off, differs."""
    mine = [[value >= 0.5 for value in seen(one, first=phase)] for phase in phases(one)]
    others = [[value >= 0.5 for value in seen(other, first=phase)] for phase in phases(other)]
    nearest = min(sum(a is not b for a, b in zip(x, y, strict=True)) for x in mine for y in others)
    assert nearest >= WATCHED / 10


@given(state=states, frame=st.integers(0, 10_000), level=levels)
def test_the_voice_does_not_hide_the_rhythm(state: State, frame: int, level: float) -> None:
    """So two states differ at any loudness of either, if they differ in silence."""
    assert switched(light(state, frame * FRAME_S, level)) is switched(light(state, frame * FRAME_S, 0.0))


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda state: state.name)
def test_any_two_states_differ_on_one_dimmed_led_at_any_loudness(one: State, other: State) -> None:
    for a, b in itertools.product(LEVELS if one in VOICED else [0.0], LEVELS if other in VOICED else [0.0]):
        assert max(abs(x - y) for x, y in zip(seen(one, a), seen(other, b), strict=True)) >= 0.4


@pytest.mark.parametrize(
    ("state", "meaning"),
    [(State.LISTENING, "listening"), (State.HEARING, "listening"), (State.THINKING, "thinking"), (State.SPEAKING, "speaking")],
)
def test_listening_thinking_and_speaking_have_leds_of_their_own(state: State, meaning: str) -> None:
    assert getattr(light(state, 0.0, 0.5), meaning) >= 0.5  # from the first moment
    for frame in range(WATCHED):
        shown = light(state, frame * FRAME_S, 0.5)
        assert shown._replace(**{meaning: 0.0}) == OFF


@given(state=states, seconds=moments, level=st.floats(-10, 10))
def test_a_light_is_within_its_bounds(state: State, seconds: float, level: float) -> None:
    assert all(0 <= brightness <= 1 for brightness in light(state, seconds, level))


@pytest.mark.parametrize("state", VOICED)
def test_a_louder_voice_is_brighter(state: State) -> None:
    shown = [max(light(state, 0.1, level)) for level in LEVELS]
    assert shown == sorted(set(shown))
    assert shown[-1] == 1


@pytest.mark.parametrize("state", VOICED)
def test_a_light_that_follows_the_voice_is_looked_at_in_every_frame(state: State) -> None:
    assert next_change(state, 0.0) == pytest.approx(FRAME_S)
    assert next_change(state, 5.5 * FRAME_S) == pytest.approx(FRAME_S / 2)


@pytest.mark.parametrize("state", [state for state in State if state not in VOICED])
def test_no_other_light_follows_the_voice(state: State) -> None:
    assert seen(state, 0.0) == seen(state, 1.0)


@pytest.mark.parametrize("state", STILL)
def test_where_nothing_moves_nobody_wakes(state: State) -> None:
    assert next_change(state, 12.3) is None
    assert len({light(state, frame * FRAME_S, 0.5) for frame in range(1000)}) == 1


@given(state=states.filter(lambda state: state not in STILL), seconds=moments, level=levels)
def test_nothing_moves_before_the_next_change(state: State, seconds: float, level: float) -> None:
    change = next_change(state, seconds)
    assert change is not None
    assert change > 0
    for part in (0.1, 0.5, 0.9):
        moment = seconds + change * part
        if moment < seconds + change - 1e-6:
            assert light(state, moment, level) == light(state, seconds, level)


@pytest.mark.parametrize("state", [state for state in State if state not in STILL])
@pytest.mark.parametrize("start", [0.0, 0.0399999, 1 / 3, 86_400.123])
def test_lights_move_at_most_25_times_a_second_and_do_not_get_stuck(state: State, start: float) -> None:
    now, wakes = start, 0
    while now < start + 60:
        change = next_change(state, now)
        assert change is not None
        now += change
        wakes += 1
    assert 60 * 0.5 <= wakes <= 60 * 25 + 1


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("level", LEVELS)
def test_nothing_flashes_more_than_three_times_a_second(state: State, level: float) -> None:
    shown = [single(light(state, frame * FRAME_S, level)) >= 0.5 for frame in range(4 * WATCHED)]
    begins = [frame for frame in range(1, len(shown)) if shown[frame] and not shown[frame - 1]]
    for begin in begins:
        assert sum(begin <= other < begin + 25 for other in begins) <= 3


def test_muted_is_the_letter_m() -> None:
    lit = [value > 0 for value in seen(State.MUTED)][:75]
    runs = [(on, len(list(run))) for on, run in itertools.groupby(lit)]
    dash, gap, dash_again, pause = runs
    assert dash == dash_again == (True, 15)
    assert pause[1] > 2 * gap[1]
