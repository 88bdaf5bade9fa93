from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipit.core.residual import ResidualSuppressor

BLOCK = 320
Wave = NDArray[np.float32]


def sound(blocks: int, seed: int, dbfs: float, swings_hz: float = 3.0) -> Wave:
    """Return noise that comes and goes, as speech does."""
    count = blocks * BLOCK
    swing = 0.5 - 0.5 * np.cos(2 * np.pi * swings_hz * np.arange(count) / 16000)
    return (10 ** (dbfs / 20) * np.random.default_rng(seed).standard_normal(count) * swing).astype(np.float32)


def run(suppressor: ResidualSuppressor, left: Wave, echo: Wave) -> Wave:
    pairs = zip(left.reshape(-1, BLOCK), echo.reshape(-1, BLOCK), strict=True)
    return np.concatenate([suppressor.step(*pair) for pair in pairs])


def power_db(samples: Wave) -> float:
    return 10 * float(np.log10(np.mean(samples**2)))


def test_without_echo_everything_passes_one_block_late() -> None:
    person = sound(50, 1, -30)
    out = run(ResidualSuppressor(BLOCK), person, np.zeros_like(person))
    assert np.allclose(out[BLOCK:], person[:-BLOCK], atol=1e-3 * np.abs(person).max())


def test_what_follows_the_echo_is_pressed_down() -> None:
    echo = sound(500, 1, -20)
    left = 0.1 * np.roll(echo, 3)
    out = run(ResidualSuppressor(BLOCK), left, echo)
    half = len(out) // 2
    assert power_db(left[half:]) - power_db(out[half:]) > 8


def test_a_person_over_the_echo_passes() -> None:
    suppressor, echo = ResidualSuppressor(BLOCK), sound(800, 1, -20)
    left = 0.03 * echo
    half = len(echo) // 2
    run(suppressor, left[:half], echo[:half])
    person = sound(400, 2, -20, swings_hz=4.3)
    out = run(suppressor, left[half:] + person, echo[half:])
    wanted = person[:-BLOCK]
    gain = float(np.dot(out[BLOCK:], wanted) / np.dot(wanted, wanted))
    assert 20 * np.log10(gain) > -1


def test_quiet_forgets_the_sound_but_not_the_leakage() -> None:
    suppressor, echo = ResidualSuppressor(BLOCK), sound(500, 1, -20)
    run(suppressor, 0.1 * echo, echo)
    suppressor.quiet()
    assert not suppressor.step(np.zeros(BLOCK, np.float32), np.zeros(BLOCK, np.float32)).any()
    out = run(suppressor, 0.1 * echo[: 100 * BLOCK], echo[: 100 * BLOCK])
    assert power_db(0.1 * echo[: 100 * BLOCK]) - power_db(out) > 8
