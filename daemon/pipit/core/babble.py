"""A sound like speech, made without a voice: for tests of loudspeaker and microphone on machines that have no synthesiser."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""The first three formants of a, i, u, e and o: G. E. Peterson, H. L. Barney, "Control methods used in a study of the vowels", JASA
24, 1952."""

_BANDWIDTH_HZ = 90.0
_SYLLABLE_S = 0.22
_PITCH_HZ = (95.0, 150.0)
_BREATH = 0.15


def babble(seconds: float, rate_hz: int, dbfs: float, seed: int = 1) -> NDArray[np.int16]:
    """Return syllables of a buzz through vowels' formants, with a hiss between them: mono, always the same.

    Args:
        seconds: how long.
        rate_hz: sample rate.
        dbfs: RMS level.
        seed: another seed, other syllables.
    """
    rng = np.random.default_rng(seed)
    syllables = [_syllable(rng, rate_hz) for _ in range(int(seconds / _SYLLABLE_S) + 1)]
    whole = np.concatenate(syllables)[: round(seconds * rate_hz)]
    whole *= 32768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(whole**2))
    return np.clip(np.rint(whole), -32768, 32767).astype(np.int16)


def _syllable(rng: np.random.Generator, rate_hz: int) -> NDArray[np.float64]:
    count = round(_SYLLABLE_S * rate_hz)
    pitch_hz = np.linspace(rng.uniform(*_PITCH_HZ), rng.uniform(*_PITCH_HZ), count)
    buzz = np.diff(np.floor(np.cumsum(pitch_hz) / rate_hz), prepend=0.0)  # one click per period of the voice
    spectrum = np.fft.rfft(buzz + _BREATH * rng.standard_normal(count) * rng.uniform(0, 1) / np.sqrt(rate_hz / 100))
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    formants = _VOWELS_HZ[int(rng.integers(len(_VOWELS_HZ)))]
    shape = sum(1 / (1 + ((hz - middle) / _BANDWIDTH_HZ) ** 2) for middle in formants)
    hiss = rng.standard_normal(count) * np.exp(-np.arange(count) / (0.03 * rate_hz)) * rng.uniform(0, 0.02)
    voiced = np.fft.irfft(spectrum * shape, count) * np.sin(np.pi * np.arange(count) / count) ** 0.5
    return np.asarray(voiced + hiss * np.abs(voiced).max() / 0.05)
