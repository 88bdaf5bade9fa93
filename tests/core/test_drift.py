from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.core.drift import LIMIT, PERIOD_S, DriftLoop, movement

RATE_HZ = 16000
Wave = NDArray[np.float32]


def response(later: float) -> Wave:
    """Return a band-limited impulse response that begins `later` samples after its usual place."""
    at = np.arange(512)
    taps = ((100, 1.0), (131, -0.5), (190, 0.3), (260, 0.2))
    wide = sum(gain * np.sinc(0.8 * (at - place - later)) * np.exp(-(((at - place - later) / 40) ** 2)) for place, gain in taps)
    return np.asarray(wide, np.float32)


@pytest.mark.parametrize("later", [0.0, 0.1, 2.25, -1.7, 6.5])
def test_movement_is_measured_to_a_fraction_of_a_sample(later: float) -> None:
    found = movement(response(0), response(later), 8)
    assert found == pytest.approx(later, abs=0.03)


def test_nothing_has_not_moved() -> None:
    assert movement(np.zeros(512, np.float32), response(0), 8) is None


def follow(true_drift: float, looks: int, loop: DriftLoop) -> list[float]:
    """Let the loop see a response that moves as it does where the reference is read at `loop.drift` and ought to be at another."""
    place, found = 0.0, []
    for _ in range(looks):
        loop.look(response(place))
        found.append(loop.drift)
        while not loop.pass_time(0.02, sounding=True):
            place += (loop.drift - true_drift) * 0.02 * RATE_HZ
    return found


@pytest.mark.parametrize("ppm", [0, 20, 100, -100])
def test_follows_any_usual_drift_within_seconds_of_sound(ppm: int) -> None:
    loop = DriftLoop(RATE_HZ)
    found = follow(ppm * 1e-6, 10, loop)
    assert found[-1] == pytest.approx(ppm * 1e-6, abs=1e-6)
    assert loop.settled
    assert abs(found[round(6 / PERIOD_S)] - ppm * 1e-6) < 15e-6


def test_what_it_found_before_is_right_at_once() -> None:
    loop = DriftLoop(RATE_HZ)
    loop.know(80e-6)
    assert loop.settled
    assert follow(80e-6, 4, loop) == pytest.approx([80e-6] * 4, abs=1e-6)


def test_is_not_settled_while_the_response_moves() -> None:
    loop = DriftLoop(RATE_HZ)
    loop.know(0.0)
    follow(100e-6, 3, loop)
    assert not loop.settled


def test_a_jump_is_no_drift() -> None:
    loop = DriftLoop(RATE_HZ)
    loop.look(response(0))
    loop.pass_time(2.0, sounding=True)
    loop.look(np.roll(response(0), 60))
    assert loop.drift == 0


def test_silence_between_two_looks_makes_the_first_worthless() -> None:
    loop = DriftLoop(RATE_HZ)
    loop.look(response(0))
    assert not loop.pass_time(30.0, sounding=False)
    assert loop.pass_time(PERIOD_S, sounding=True)
    loop.look(response(3))
    assert loop.drift == 0


def test_an_interruption_makes_the_last_look_worthless() -> None:
    loop = DriftLoop(RATE_HZ)
    loop.look(response(0))
    loop.interrupt()
    loop.pass_time(2.0, sounding=True)
    loop.look(response(3))
    assert loop.drift == 0


def test_no_clock_is_believed_to_be_worse_than_crystals_are() -> None:
    loop = DriftLoop(RATE_HZ)
    loop.know(1.0)
    assert loop.drift == LIMIT
