from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.core.distortion import BENDS, LEVELS, Distortion
from pipit.core.kalman import KalmanFilter

BLOCK = 64
PARTITIONS = 4
Wave = NDArray[np.float32]


def speaker_soft(played: Wave) -> Wave:
    return (np.tanh(4 * played) / 4).astype(np.float32)


def speaker_hard(played: Wave) -> Wave:
    return np.clip(played, np.float32(-0.15), np.float32(0.15))


def speaker_lopsided(played: Wave) -> Wave:
    return np.where(played > 0, np.tanh(6 * played) / 6, played).astype(np.float32)


def sound(blocks: int, seed: int = 2) -> Wave:
    """Return noise whose loudness rises and falls, as speech does: peaks at 0.6."""
    noise = np.random.default_rng(seed).standard_normal(blocks * BLOCK) * (0.1 + 0.1 * np.sin(np.arange(blocks * BLOCK) / 300))
    return np.clip(noise, -0.6, 0.6).astype(np.float32)


def through_room(played: Wave) -> Wave:
    length = BLOCK * PARTITIONS
    taps = np.random.default_rng(1).standard_normal(length) * np.exp(-np.arange(length) / 40)
    return np.convolve(played, 0.3 * taps / np.abs(taps).max())[: len(played)].astype(np.float32)


def removed_db(played: Wave, heard: Wave, distortion: Distortion | None) -> float:
    """Return what a filter removes in the second half, its reference bent or not."""
    path, left = KalmanFilter(BLOCK, PARTITIONS), []
    for reference, microphone in zip(played.reshape(-1, BLOCK), heard.reshape(-1, BLOCK), strict=True):
        bent = reference if distortion is None else distortion.play(reference, path.weights)
        left.append(path.step(bent, microphone))
        if distortion is not None:
            distortion.learn(path.error, path.innovation)
    half = len(heard) // 2
    return 10 * float(np.log10(np.sum(heard[half:] ** 2) / np.sum(np.concatenate(left)[half:] ** 2)))


@pytest.mark.parametrize("speaker", [speaker_soft, speaker_hard, speaker_lopsided])
def test_what_a_loudspeaker_adds_at_its_limit_is_taken_out(speaker: Callable[[Wave], Wave]) -> None:
    played = sound(800)
    heard = through_room(speaker(played))
    assert removed_db(played, heard, Distortion(BLOCK)) > removed_db(played, heard, None) + 6


def test_a_person_who_talks_does_not_bend_it() -> None:
    played = sound(800)
    echo, person = through_room(played), through_room(sound(800, seed=5))
    distortion = Distortion(BLOCK)
    removed_db(played, echo + person, distortion)
    assert np.abs(distortion.bends).max() < 0.25


def test_a_clean_loudspeaker_loses_nothing() -> None:
    played = sound(800)
    heard = through_room(played)
    distortion = Distortion(BLOCK)
    assert removed_db(played, heard, distortion) > removed_db(played, heard, None) - 2
    assert np.abs(distortion.bends).max() < 0.05


def test_quiet_sound_stays_as_it_is_and_tells_nothing() -> None:
    distortion = Distortion(BLOCK)
    distortion.bends = np.full(BENDS, -0.5, np.float32)
    path = np.ones((PARTITIONS, BLOCK + 1), np.complex64)
    quiet = sound(1) * np.float32(0.5 * LEVELS[0])
    assert np.array_equal(distortion.play(quiet, path), quiet)
    distortion.learn(np.ones(BLOCK + 1, np.complex64), np.full(BLOCK + 1, 1e-6, np.float32))
    assert np.array_equal(distortion.bends, np.full(BENDS, -0.5, np.float32))


def test_where_nothing_is_heard_nothing_is_concluded() -> None:
    """Headphones, or a loudspeaker that is switched off: the microphone hears somebody else."""
    distortion = Distortion(BLOCK)
    removed_db(sound(400), np.random.default_rng(3).standard_normal(400 * BLOCK).astype(np.float32) * 0.1, distortion)
    slopes = 1 + np.cumsum(distortion.bends.reshape(2, -1), axis=1)
    assert slopes.min() > 0
    assert slopes.max() < 2
