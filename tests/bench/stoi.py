"""Short-time objective intelligibility: how well speech can be understood after processing, 0 to 1.

C. H. Taal, R. C. Hendriks, R. Heusdens, J. Jensen, "An algorithm for intelligibility prediction of time-frequency weighted noisy
speech", IEEE TASLP 19, 2011. At 10 kHz, 15 third-octave bands from 150 Hz, segments of 384 ms, clipped at -15 dB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests import speech

_RATE_HZ = 10000
_WINDOW, _HOP, _POINTS = 256, 128, 512
_SEGMENT = 30
_RANGE_DB = 40
_CLIP = 1 + 10 ** (15 / 20)


def stoi(clean: NDArray[np.float64], processed: NDArray[np.float64], rate_hz: int) -> float:
    """Return the intelligibility of `processed`, which is `clean` plus whatever happened to it, in step with it."""
    x, y = (speech.resample(samples, rate_hz, _RATE_HZ) for samples in (clean, processed))
    x, y = _without_silence(x, y)
    bands_x, bands_y = _bands(x), _bands(y)
    segments = np.lib.stride_tricks.sliding_window_view
    sx, sy = segments(bands_x, _SEGMENT, axis=0), segments(bands_y, _SEGMENT, axis=0)
    scale = np.linalg.norm(sx, axis=-1, keepdims=True) / (np.linalg.norm(sy, axis=-1, keepdims=True) + 1e-12)
    clipped = np.minimum(sy * scale, sx * _CLIP)
    a, b = (s - s.mean(-1, keepdims=True) for s in (sx, clipped))
    return float(np.mean(np.sum(a * b, -1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1) + 1e-12)))


def _frames(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    windows = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::_HOP]
    return np.asarray(windows * np.hanning(_WINDOW + 2)[1:-1])


def _without_silence(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut out of both the frames in which the clean one is 40 dB below its loudest."""
    fx, fy = _frames(x), _frames(y)
    energy = 20 * np.log10(np.linalg.norm(fx, axis=1) + 1e-12)
    keep = energy > energy.max() - _RANGE_DB
    return _overlap(fx[keep]), _overlap(fy[keep])


def _overlap(frames: NDArray[np.float64]) -> NDArray[np.float64]:
    whole = np.zeros(_HOP * (len(frames) - 1) + _WINDOW)
    for at, frame in enumerate(frames):
        whole[at * _HOP : at * _HOP + _WINDOW] += frame
    return whole


def _bands(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    power = np.abs(np.fft.rfft(_frames(samples), _POINTS)) ** 2
    hz = np.fft.rfftfreq(_POINTS, 1 / _RATE_HZ)
    middles = 150 * 2 ** (np.arange(15) / 3)
    edges = [(np.argmin(np.abs(hz - m * 2 ** (-1 / 6))), np.argmin(np.abs(hz - m * 2 ** (1 / 6)))) for m in middles]
    return np.sqrt(np.stack([power[:, low:high].sum(1) for low, high in edges], axis=1))
