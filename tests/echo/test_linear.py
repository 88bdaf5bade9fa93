from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.core.distortion import BENDS
from pipit.echo.linear import FRAME, Linear
from pipit.echo.memory import Memory

RATE_HZ = 16000
Wave = NDArray[np.int16]


def sound(seconds: float) -> Wave:
    """Return noise that comes in bursts, as syllables do."""
    count = round(seconds * RATE_HZ)
    bursts = np.clip(np.sin(2 * np.pi * 3 * np.arange(count) / RATE_HZ) + 0.4, 0, None)
    return np.rint(2000 * bursts * np.random.default_rng(2).standard_normal(count)).astype(np.int16)


def echo(played: Wave) -> Wave:
    """Return what the microphone hears: 10 ms late, and a room."""
    taps = np.random.default_rng(1).standard_normal(800) * np.exp(-np.arange(800) / 150)
    heard = np.convolve(played, np.concatenate((np.zeros(160), 0.2 * taps / np.abs(taps).max())))
    return np.rint(heard[: len(played)]).astype(np.int16)


def listen(linear: Linear, played: Wave, heard: Wave) -> Wave:
    """Return what is left, in step with what was heard; the reference is read as late as the canceller wants it."""
    padded = np.concatenate((np.zeros(RATE_HZ, np.int16), played, np.zeros(RATE_HZ, np.int16)))
    left = []
    for start in range(0, len(heard), FRAME):
        at = RATE_HZ + start - round(linear.lag_s * RATE_HZ)
        left.append(linear.step(heard[start : start + FRAME], padded[at : at + FRAME], talking=False))
    return np.concatenate((*left[1:], linear.rest()))


def removed_db(heard: Wave, left: Wave) -> float:
    """Return what was removed in the last two seconds."""
    powers = [float(np.mean(samples[-2 * RATE_HZ :].astype(float) ** 2)) + 0.01 for samples in (heard, left)]
    return 10 * float(np.log10(powers[0] / powers[1]))


@pytest.mark.parametrize("gain", [0.25, 3.0])
def test_a_knob_that_is_turned_is_followed(gain: float) -> None:
    linear, played = Linear(), sound(14)
    turned = np.where(np.arange(len(played)) < 8 * RATE_HZ, 1, gain)
    heard = np.rint(echo(played) * turned).astype(np.int16)
    assert removed_db(heard, listen(linear, played, heard)) > 25


def known(response: NDArray[np.float32], lag_s: float = 0.0) -> Memory:
    return Memory(response, 0.0, lag_s, np.zeros(BENDS, np.float32))


def test_what_is_known_of_another_room_is_forgotten() -> None:
    linear, played = Linear(), sound(14)
    other = 0.05 * np.random.default_rng(4).standard_normal(10 * FRAME)
    assert linear.remember(known(other.astype(np.float32)))
    heard = echo(played)
    assert removed_db(heard, listen(linear, played, heard)) > 25


@pytest.mark.parametrize("lag_s", [0.03, 0.2, 0.45, -0.2])
def test_a_delay_that_is_no_more_is_found_out(lag_s: float) -> None:
    """Another loudspeaker: the echo comes before what was taken for its cause, or much later."""
    linear, played = Linear(), sound(16)
    before = np.zeros(10 * FRAME, np.float32)
    before[160] = 0.3
    assert linear.remember(known(before, lag_s))
    heard = echo(played)
    assert removed_db(heard, listen(linear, played, heard)) > 25
    assert abs(linear.lag_s) < 0.02
