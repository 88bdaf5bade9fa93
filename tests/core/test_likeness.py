from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.core.likeness import likeness
from tests import speech

RATE_HZ = 16000
PLAYED = speech.say("the river begins high in the mountains and runs past three old towns", "en-us").astype(np.float32)[
    : 2 * RATE_HZ
]
OTHER = speech.say("what I meant is that it would be nice to have some more of it", "flite:rms").astype(np.float32)[: 2 * RATE_HZ]


def later(samples: NDArray[np.float32], lag: int) -> NDArray[np.float32]:
    return np.roll(samples, lag)


@pytest.mark.parametrize("lag", [-800, 0, 37, 4000, 7999])
def test_what_was_played_is_found_under_what_somebody_says_at_the_same_level(lag: int) -> None:
    heard = (later(PLAYED, lag) + OTHER)[-RATE_HZ:]
    found = likeness(heard, PLAYED[RATE_HZ // 2 :], 1600)
    assert found.lag == lag
    assert found.prominence > 15


def test_what_was_not_played_is_not_found() -> None:
    assert likeness(OTHER[-RATE_HZ:], PLAYED[RATE_HZ // 2 :], 1600).prominence < 10


@pytest.mark.parametrize("silent", ["heard", "played"])
def test_silence_is_like_nothing(silent: str) -> None:
    heard, played = PLAYED[-RATE_HZ:], PLAYED[RATE_HZ // 2 :]
    assert likeness(heard * (silent != "heard"), played * (silent != "played"), 1600).prominence == 0
