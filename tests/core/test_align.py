from __future__ import annotations

import numpy as np
import pytest

from pipit.core.align import JUMP_S, Clock, Line

RATE_HZ = 48000
BLOCK = 960


def stamped(blocks: int, *, ppm: float = 0.0, jitter_s: float = 0.0, seed: int = 1) -> tuple[Line, float]:
    """Return a line through the stamps of a device and the rate of that device."""
    line, rng, rate_hz = Line(RATE_HZ), np.random.default_rng(seed), RATE_HZ * (1 + ppm * 1e-6)
    for block in range(blocks):
        line.add(BLOCK * block, 100 + BLOCK * block / rate_hz + rng.normal(0, jitter_s))
    return line, rate_hz


def test_exact_stamps_make_an_exact_line_both_ways() -> None:
    line, _ = stamped(50)
    assert line.time(12345.5) == pytest.approx(100 + 12345.5 / RATE_HZ, abs=1e-9)
    assert line.index(line.time(777.25)) == pytest.approx(777.25, abs=1e-6)


def test_jitter_is_averaged() -> None:
    errors = []
    for seed in range(20):
        line, _ = stamped(200, jitter_s=0.0005, seed=seed)
        errors.append(line.time(BLOCK * 200) - (100 + BLOCK * 200 / RATE_HZ))
    assert np.std(errors) < 0.0002


@pytest.mark.parametrize("ppm", [100, -100])
def test_stays_with_a_clock_that_drifts(ppm: float) -> None:
    line, rate_hz = stamped(3000, ppm=ppm)
    assert line.time(BLOCK * 3000) == pytest.approx(100 + BLOCK * 3000 / rate_hz, abs=0.0005)


def test_one_stamp_that_is_far_off_is_passed_over() -> None:
    line, _ = stamped(50)
    line.add(BLOCK * 50, 100 + BLOCK * 50 / RATE_HZ + 0.1)
    assert line.time(BLOCK * 50) == pytest.approx(100 + BLOCK * 50 / RATE_HZ, abs=1e-6)


def test_two_begin_another_line() -> None:
    line, _ = stamped(50)
    for block in (50, 51, 52):
        line.add(BLOCK * block, 100.1 + BLOCK * block / RATE_HZ)
    assert line.time(BLOCK * 53) == pytest.approx(100.1 + BLOCK * 53 / RATE_HZ, abs=1e-4)


def test_less_than_a_jump_is_jitter() -> None:
    line, _ = stamped(200)
    line.add(BLOCK * 200, 100 + BLOCK * 200 / RATE_HZ + 0.9 * JUMP_S)
    assert abs(line.time(BLOCK * 200) - (100 + BLOCK * 200 / RATE_HZ)) < 0.1 * JUMP_S


def test_without_a_stamp_nothing_is_known() -> None:
    line = Line(RATE_HZ)
    assert not line.known
    with pytest.raises(ValueError, match="known"):
        line.time(0)


def test_a_clock_that_is_ours_needs_no_offset() -> None:
    clock = Clock()
    assert clock.offset_s(50.0, 50.004) == 0.0


def test_another_clocks_offset_is_the_least_that_was_seen() -> None:
    clock = Clock()
    clock.offset_s(1000.0, 50.030)
    assert clock.offset_s(1001.0, 51.001) == pytest.approx(-949.999)
    assert clock.offset_s(1002.0, 52.080) == pytest.approx(-949.999, abs=1e-3)


def test_a_clock_that_was_set_is_taken_as_it_is_now() -> None:
    clock = Clock()
    clock.offset_s(1000.0, 50.001)
    assert clock.offset_s(400.0, 51.001) == pytest.approx(-348.999)
    assert clock.offset_s(4000.0, 52.001) == pytest.approx(-3947.999)
