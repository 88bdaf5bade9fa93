"""The loudspeaker's sound as it was when a frame was captured: read from the mixer's reference at the right place, at 16 kHz.

The device says by time stamps which sample of the reference belongs to a captured one. They jitter, and a canceller needs the
distance between the two to stand still to a fraction of a sample; so the reference is read on by counting from the first sound on,
and the stamps are only watched: where they stay away from the count, samples were lost or inserted somewhere, and it jumps there.
Until the first sound it is read where they say, for the earliest of them are the worst.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import HEARING_RATE_HZ, windows_of
from pipit.core.ring import Ring

LEAD_S = 0.01
"""The reference is read this much ahead of where the stamps say: they err by up to 5 ms, and no echo may precede its cause."""

_AWAY_S = 0.006
_AWAY_FRAMES = 5
_LOBES = 16
_PHASES = 256


class Reference:
    """Reads what the loudspeaker played. For the dsp thread.

    Args:
        played: exactly what the playback callback returned, silence included.
        rate_hz: its sample rate.
        reference_at: says which sample of it was at the loudspeaker when one was captured; see `pipit.audio.Device`.
    """

    def __init__(self, played: Ring, rate_hz: int, reference_at: Callable[[float], float | None]) -> None:
        self._played = played
        self._rate_hz = rate_hz
        self._reference_at = reference_at
        self._at: float | None = None
        self._away = 0
        self._sounded = False
        self.jumps = 0
        """How often it had to jump."""

    def frame(self, captured: float, count: int, drift: float, lag_s: float) -> NDArray[np.int16] | None:
        """Return the next `count` samples, or None where they are digital silence or not known.

        Args:
            captured: position in the device's `captured` of the frame's first sample.
            count: samples at 16 kHz.
            drift: how much faster than nominal it is read, as a fraction.
            lag_s: how much later than the stamps say the echo comes.
        """
        stamped = self._reference_at(captured)
        if stamped is None:
            self._at, self._sounded = None, False
            return None
        self._follow(stamped + (LEAD_S - lag_s) * self._rate_hz)
        assert self._at is not None
        step = self._rate_hz / HEARING_RATE_HZ * (1 + drift)
        at, self._at = self._at, self._at + count * step
        samples = self._read(at, step, count)
        self._sounded = self._sounded or samples is not None
        if not self._sounded:
            self._at = None
        return samples

    def _follow(self, wanted: float) -> None:
        if self._at is None:
            self._at, self._away = wanted, 0
            return
        self._away = self._away + 1 if abs(wanted - self._at) > _AWAY_S * self._rate_hz else 0
        if self._away >= _AWAY_FRAMES:
            self._at, self._away = wanted, 0
            self.jumps += 1

    def _read(self, at: float, step: float, count: int) -> NDArray[np.int16] | None:
        kernel = _kernel(max(1.0, self._rate_hz / HEARING_RATE_HZ))
        half = kernel.shape[1] // 2
        first, last = int(at) - half, int(at + count * step) + half + 2
        samples = self._samples(first, last)
        if not samples.any():
            return None
        positions = at - first - half + 1 + step * np.arange(count)
        whole = round(step)
        line = windows_of(samples.astype(np.float32), kernel.shape[1])
        if abs(step - whole) * count < 0.5:  # all but an integer ratio: the fraction hardly moves within a frame
            result = _between(line, positions, whole, kernel)
        else:
            places = positions.astype(np.intp)
            result = np.einsum("nk,nk->n", line[places], _taps(kernel, positions - places))
        return np.clip(np.rint(result), -32768, 32767).astype(np.int16)

    def _samples(self, first: int, last: int) -> NDArray[np.int16]:
        """Return samples of the reference; silence where it does not reach."""
        ring = self._played
        start, stop = max(first, ring.oldest), min(last, ring.written)
        if start >= stop:
            return np.zeros(last - first, np.int16)
        samples = ring.read(start, stop)
        if (start, stop) == (first, last):
            return samples
        return np.concatenate((np.zeros(start - first, np.int16), samples, np.zeros(last - stop, np.int16)))


def _between(
    line: NDArray[np.float32], positions: NDArray[np.float64], whole: int, kernel: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Interpolate with the taps of the first and the last position, blended: they differ by less than half a sample."""
    count = len(positions)
    start = int(positions[0])
    early = positions[0] - start
    late = positions[-1] - start - whole * (count - 1)
    if not 0 <= late < 1:  # the fraction crosses a sample within this frame
        places = positions.astype(np.intp)
        exact: NDArray[np.float32] = np.einsum("nk,nk->n", line[places], _taps(kernel, positions - places))
        return exact
    windows = line[start : start + whole * (count - 1) + 1 : whole]
    first, last = _taps(kernel, np.array([early, late]))
    begin: NDArray[np.float32] = np.einsum("nk,k->n", windows, first)
    if early == late:
        return begin
    blend = np.linspace(0, 1, count, dtype=np.float32)
    result: NDArray[np.float32] = begin + blend * (np.einsum("nk,k->n", windows, last) - begin)
    return result


def _taps(kernel: NDArray[np.float32], fractions: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the taps for positions between two samples, shape (n, taps)."""
    places = fractions * _PHASES
    below = places.astype(np.intp)
    weight = (places - below).astype(np.float32)[:, None]
    taps: NDArray[np.float32] = kernel[below] * (1 - weight) + kernel[below + 1] * weight
    return taps


@functools.lru_cache(maxsize=4)
def _kernel(ratio: float) -> NDArray[np.float32]:
    """Return a low-pass for reading at `ratio` times fewer samples, shape (phases + 1, taps).

    Row p interpolates p/256 of a sample after the middle: tap `taps / 2 - 1`. A sinc under a Kaiser window, cut off a little below
    the lower Nyquist frequency.
    """
    half = round(_LOBES * ratio)
    offsets = np.arange(-half + 1, half + 1)[None, :] - np.arange(_PHASES + 1)[:, None] / _PHASES
    cutoff = 0.93 / ratio
    window = np.i0(8.0 * np.sqrt(np.clip(1 - (offsets / half) ** 2, 0, None))) / np.i0(8.0)
    kernel = cutoff * np.sinc(cutoff * offsets) * window
    kernel /= kernel.sum(axis=1, keepdims=True)
    taps: NDArray[np.float32] = kernel.astype(np.float32)
    taps.flags.writeable = False  # it is shared
    return taps
