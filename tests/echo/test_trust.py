from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipit.echo.trust import Trust

FRAME = 320


def noise(dbfs: float, seed: int) -> NDArray[np.int16]:
    return np.rint(32768 * 10 ** (dbfs / 20) * np.random.default_rng(seed).standard_normal(FRAME)).astype(np.int16)


def speak(trust: Trust, seconds: float, removed_db: float, peak: int = 8000) -> list[bool]:
    """Let Pipit speak; return after each frame whether its canceller is trusted."""
    played = np.linspace(-peak, peak, FRAME).astype(np.int16)
    said = []
    for frame in range(round(seconds * 50)):
        trust.feed(noise(-20, frame), noise(-20 - removed_db, frame + 99), played, False)
        said.append(bool(trust))
    return said


def test_trust_takes_fifteen_seconds() -> None:
    said = speak(Trust(), 20, 35)
    assert 15 * 50 < said.index(True) < 17 * 50
    assert said[-1]


def test_what_removes_too_little_is_never_trusted() -> None:
    assert not any(speak(Trust(), 30, 26))


def test_half_a_second_that_was_not_removed_costs_half_a_minute() -> None:
    trust = Trust()
    assert speak(trust, 20, 35)[-1]
    speak(trust, 0.5, 10)
    assert not any(speak(trust, 40, 35)[50:])
    assert speak(trust, 10, 35)[-1]


def test_what_is_louder_than_ever_is_not_trusted_until_it_was_removed_too() -> None:
    trust = Trust()
    assert speak(trust, 20, 35, peak=8000)[-1]
    louder = speak(trust, 3, 35, peak=9000)
    assert not any(louder[:60])
    assert louder[-1]


def test_nothing_is_trusted_before_anything_was_heard() -> None:
    assert not Trust()
