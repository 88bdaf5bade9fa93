from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.core.kalman import STILL, KalmanFilter, moved

BLOCK = 64
PARTITIONS = 4
LENGTH = BLOCK * PARTITIONS
Wave = NDArray[np.float32]


def room(seed: int = 1) -> Wave:
    """Return an impulse response that dies away within the filter's length."""
    taps = np.random.default_rng(seed).standard_normal(LENGTH) * np.exp(-np.arange(LENGTH) / 40)
    return (0.3 * taps / np.abs(taps).max()).astype(np.float32)


def sound(blocks: int, seed: int = 2, scale: float = 0.1) -> Wave:
    return (scale * np.random.default_rng(seed).standard_normal(blocks * BLOCK)).astype(np.float32)


def through(played: Wave, response: Wave) -> Wave:
    return np.convolve(played, response)[: len(played)].astype(np.float32)


def run(filter_: KalmanFilter, played: Wave, heard: Wave) -> Wave:
    pairs = zip(played.reshape(-1, BLOCK), heard.reshape(-1, BLOCK), strict=True)
    return np.concatenate([filter_.step(reference, microphone) for reference, microphone in pairs])


def removed_db(heard: Wave, left: Wave, blocks: int = 20) -> float:
    """Return what was removed in the last blocks."""
    part = slice(-blocks * BLOCK, None)
    return 10 * float(np.log10(np.sum(heard[part] ** 2) / np.sum(left[part] ** 2)))


def test_learns_the_way_from_the_loudspeaker_and_takes_it_out() -> None:
    filter_, played = KalmanFilter(BLOCK, PARTITIONS), sound(300)
    heard = through(played, room())
    left = run(filter_, played, heard)
    assert removed_db(heard, left) > 35
    assert np.abs(filter_.response - room()).max() < 0.01


def test_what_was_taken_out_is_what_is_missing() -> None:
    filter_, played = KalmanFilter(BLOCK, PARTITIONS), sound(50)
    heard = through(played, room())
    run(filter_, played, heard)
    last = sound(1, seed=9)
    assert np.allclose(filter_.step(played[:BLOCK], last) + filter_.echo, last, atol=1e-6)


def test_a_person_is_left_whole_and_does_not_drive_it_away() -> None:
    filter_, played = KalmanFilter(BLOCK, PARTITIONS), sound(600)
    heard = through(played, room())
    half = len(heard) // 2
    run(filter_, played[:half], heard[:half])
    filter_.keep(STILL)
    person = through(sound(300, seed=5), room(7))  # as loud as the echo
    left = run(filter_, played[half:], heard[half:] + person)
    assert removed_db(person, left - person) > 20
    alone = run(filter_, played[:half], heard[:half])
    assert removed_db(heard[:half], alone) > 30


def test_what_was_known_works_from_the_first_block() -> None:
    filter_, played = KalmanFilter(BLOCK, PARTITIONS), sound(20)
    filter_.know(room())
    heard = through(played, room())
    assert removed_db(heard, run(filter_, played, heard)) > 35


def test_what_was_known_and_is_wrong_is_learnt_again() -> None:
    filter_, played = KalmanFilter(BLOCK, PARTITIONS), sound(400)
    filter_.know(room(3))
    heard = through(played, room())
    assert removed_db(heard, run(filter_, played, heard)) > 30


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(np.zeros(LENGTH - 1, np.float32), id="too short"),
        pytest.param(np.full(LENGTH, np.nan, np.float32), id="no numbers"),
    ],
)
def test_refuses_to_know_nonsense(response: Wave) -> None:
    with pytest.raises(ValueError, match=f"must be {LENGTH} finite numbers"):
        KalmanFilter(BLOCK, PARTITIONS).know(response)


@pytest.mark.parametrize("samples", [5, -3])
def test_a_response_can_be_moved(samples: int) -> None:
    response = np.zeros(LENGTH, np.float32)
    response[40:44] = (0.1, 0.5, -0.3, 0.1)
    assert np.allclose(moved(response, samples), np.roll(response, samples), atol=1e-4)


def test_half_a_sample_there_and_back_is_nothing() -> None:
    response = np.zeros(LENGTH, np.float32)
    response[40] = 0.5
    assert np.allclose(moved(moved(response, 0.5), -0.5), response, atol=0.01)


def test_quiet_forgets_the_sound_but_not_the_room() -> None:
    filter_, played = KalmanFilter(BLOCK, PARTITIONS), sound(20)
    filter_.know(room())
    run(filter_, sound(20, seed=8), through(sound(20, seed=8), room()))
    filter_.quiet()
    heard = through(played, room())
    assert removed_db(heard, run(filter_, played, heard)) > 35


def test_reset_forgets_the_room() -> None:
    filter_ = KalmanFilter(BLOCK, PARTITIONS)
    filter_.know(room())
    filter_.reset()
    assert not filter_.response.any()
