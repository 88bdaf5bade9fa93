"""Which light belongs to which state: a pure function of (state, seconds in it, level).

No command sets a light. Whoever shows it asks `light` for the moment and `next_change` for how long it may sleep: where nothing
moves (IDLE, LISTENING, STOPPED) it sleeps until the state changes.

Each state has a rhythm of its own, so that one LED of any colour tells them apart, also one that knows only on and off, and also
when two states show the same loudness. One character is a frame of 40 ms, its digit the brightness in ninths,
rounded up, in silence::

    STARTING    T    999......................999......................999......................   a blink a second
    IDLE        -    ...........................................................................   dark
    CONNECTING  L    999...999................999...999................999...999................   two blinks a second
    LISTENING   L    999999999999999999999999999999999999999999999999999999999999999999999999999   steady
    HEARING     L    555555555555555555555555551111555555555555555555555555551111555555555555555   a nod, with the voice
    THINKING    T    999987655432111.11123455678999999987655432111.11123455678999999987655432111   breath
    SPEAKING    S    555555111155555511115555551111555555111155555511115555551111555555111155555   a mouth, with the voice
    MUTED       LTS  555555555555555........555555555555555.....................................   M in Morse code
    FAULT       LTS  999...999...999....................999...999...999....................999..   three blinks
    STOPPED     -    ...........................................................................   dark

L, T and S are the LEDs for listening, thinking and speaking; what concerns the whole device shows on all three. HEARING and
SPEAKING become brighter with the voice, up to 9. No rhythm flashes more than three times in any second, which is where flashing
begins to be a danger to people with photosensitive epilepsy (WCAG 2.2, success criterion 2.3.1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from pipit.core.machine import State

FRAME_S = 0.04
"""Lights move 25 times a second at most: smooth to the eye, and cheap."""

_ON_A_BORDER = 1e-6
"""In frames: a moment this close before a frame begins belongs to that frame, or a timer that is exact would come too early."""


class Light(NamedTuple):
    """How bright each of the three meanings is, 0 to 1. A board maps them to pins, colours or a ring."""

    listening: float = 0.0
    thinking: float = 0.0
    speaking: float = 0.0


OFF = Light()


class Step(NamedTuple):
    """A piece of a rhythm."""

    frames: int
    """How long it lasts."""
    floor: float
    """Brightness in silence, 0 to 1."""
    gain: float = 0.0
    """What the loudest voice adds; floor + gain is at most 1."""


class Pattern(NamedTuple):
    """A rhythm on some of the LEDs."""

    lit: Light
    """1 for each LED that takes part."""
    steps: tuple[Step, ...]
    """Repeated for ever, from the moment in which the state is entered."""
    words: str
    """What a person would call it."""


def _blinks(count: int, period: int) -> tuple[Step, ...]:
    """Return some short blinks, then darkness up to the period, in frames."""
    blinks = (Step(3, 1.0), Step(3, 0.0)) * count
    return (*blinks[:-1], Step(period - 6 * count + 3, 0.0))


def _breath(period: int) -> tuple[Step, ...]:
    return tuple(Step(1, round(0.5 + 0.5 * math.cos(math.tau * frame / period), 2)) for frame in range(period))


_DARK = (Step(1, 0.0),)
_STEADY = (Step(1, 1.0),)
_NOD = (Step(26, 0.5, 0.5), Step(4, 0.1))
_MOUTH = (Step(6, 0.5, 0.5), Step(4, 0.1))
_MORSE_M = (Step(15, 0.5), Step(8, 0.0), Step(15, 0.5), Step(37, 0.0))

_LISTENING, _THINKING, _SPEAKING, _ALL = Light(listening=1), Light(thinking=1), Light(speaking=1), Light(1, 1, 1)

PATTERNS: Mapping[State, Pattern] = {
    State.STARTING: Pattern(_THINKING, _blinks(1, 25), "a blink a second"),
    State.IDLE: Pattern(OFF, _DARK, "dark"),
    State.CONNECTING: Pattern(_LISTENING, _blinks(2, 25), "two blinks a second"),
    State.LISTENING: Pattern(_LISTENING, _STEADY, "steady"),
    State.HEARING: Pattern(_LISTENING, _NOD, "a nod, with the voice"),
    State.THINKING: Pattern(_THINKING, _breath(30), "breath"),
    State.SPEAKING: Pattern(_SPEAKING, _MOUTH, "a mouth, with the voice"),
    State.MUTED: Pattern(_ALL, _MORSE_M, "M in Morse code"),
    State.FAULT: Pattern(_ALL, _blinks(3, 35), "three blinks"),
    State.STOPPED: Pattern(OFF, _DARK, "dark"),
}


def light(state: State, seconds: float, level: float) -> Light:
    """Return the light of a moment.

    Args:
        state: what Pipit is doing.
        seconds: for how long.
        level: loudness of the voice that is being heard or spoken, 0 to 1; read by HEARING and SPEAKING only.

    Returns:
        Brightnesses in steps of 0.01, so that a light that cannot be seen to differ does not differ.
    """
    pattern = PATTERNS[state]
    step, _ = _at(pattern, _frame(seconds))
    brightness = round(step.floor + step.gain * min(1.0, max(0.0, level)), 2)
    return Light(*(brightness * lit for lit in pattern.lit))


def next_change(state: State, seconds: float) -> float | None:
    """Return how many seconds later the light can look different, or None if it never will in this state."""
    pattern = PATTERNS[state]
    frame = _frame(seconds)
    step, left = _at(pattern, frame)
    if step.gain:
        left = 1
    elif len(pattern.steps) == 1:
        return None
    return (frame + left) * FRAME_S - seconds


def _frame(seconds: float) -> int:
    return max(0, math.floor(seconds / FRAME_S + _ON_A_BORDER))


def _at(pattern: Pattern, frame: int) -> tuple[Step, int]:
    """Return the step in which a frame lies, and how many frames of it are left, this one included."""
    frame %= sum(step.frames for step in pattern.steps)
    for step in pattern.steps:
        if frame < step.frames:
            break
        frame -= step.frames
    return step, step.frames - frame
