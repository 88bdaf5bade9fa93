"""Samples: changing their rate, joining them from bytes, measuring their level."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

HEARING_RATE_HZ = 16000
"""Rate at which the echo canceller, the voice activity detector and the wake word engines work."""

SILENCE_DBFS = -120.0
"""What `dbfs` says of digital silence; the quietest possible int16 signal, one sample of 1 in a long block, is not far above."""

_STOPBAND_DB = 82.0
_PLANS = 8


class Resampler:
    """Changes the sample rate of a stream: mono int16 in, mono int16 out, with the filter's state kept between blocks.

    A polyphase FIR low-pass: a sinc under a Kaiser window, whose stop band begins at the lower of the two Nyquist frequencies, so
    that whatever could alias is down by 80 dB (asserted in tests/core/test_pcm.py). It holds a sample back for half its length,
    `lobes` periods of the lower rate: 1 ms between 16 and 48 kHz with the default. FFT resamplers hold it for 40 ms and more.

    How the stream is cut into blocks makes no difference to the result.

    Args:
        rate_in_hz: 8000 to 96000.
        rate_out_hz: 8000 to 96000.
        lobes: zero crossings of the sinc on either side. More make the pass band wider and the delay longer: flat to 70 % of the
            lower Nyquist frequency with 16, to 85 % with 32.

    Raises:
        ValueError: a number out of range.
    """

    def __init__(self, rate_in_hz: int, rate_out_hz: int, lobes: int = 16) -> None:
        for rate_hz in (rate_in_hz, rate_out_hz):
            if not 8000 <= rate_hz <= 96000:
                raise ValueError(f"a sample rate of {rate_hz} Hz: must be 8000 to 96000")
        if lobes < 4:
            raise ValueError(f"a resampler with {lobes} lobes: must be at least 4")
        divisor = math.gcd(rate_in_hz, rate_out_hz)
        self._up, self._down = rate_out_hz // divisor, rate_in_hz // divisor
        self._identity = self._up == self._down
        self.delay_s = 0.0 if self._identity else _half_length(self._up, self._down, lobes) / (self._up * rate_in_hz)
        """How much later a sound is in the output than in the input."""
        self._taps = _polyphase(self._up, self._down, lobes)
        self._longest = rate_in_hz // 50  # 20 ms are a whole number of periods of all usual pairs of rates, so one plan serves
        self._plans: dict[tuple[int, int], tuple[NDArray[np.intp], NDArray[np.float32], int]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget the sound so far, as at the start."""
        self._phase = 0  # of the next output sample, in steps of 1/up input samples from the next input sample
        self._history = np.zeros(self._taps.shape[1] - 1, np.float32)

    def process(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Take the next samples, shape (n,), any n; return what is complete by now. With equal rates: the argument itself."""
        if self._identity:
            return samples
        pieces = [self._filter(samples[start : start + self._longest]) for start in range(0, len(samples), self._longest)]
        if not pieces:
            return np.empty(0, np.int16)
        result = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        np.rint(result, out=result)
        np.clip(result, -32768, 32767, out=result)
        return result.astype(np.int16)

    def _filter(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        # einsum, not matmul: BLAS adds in an order that depends on the block's shape, and the result would too.
        line = np.concatenate((self._history, samples), dtype=np.float32)
        self._history = line[len(samples) :]
        windows = windows_of(line, self._taps.shape[1])
        result: NDArray[np.float32]
        if self._down == 1:
            result = np.einsum("nk,pk->np", windows, self._taps).ravel()
        elif self._up == 1:
            chosen = windows[self._phase :: self._down]
            self._phase += len(chosen) * self._down - len(samples)
            result = np.einsum("nk,k->n", chosen, self._taps[0])
        else:
            places, taps, self._phase = self._plan(len(samples))
            result = np.einsum("nk,nk->n", windows[places], taps)
        return result

    def _plan(self, count: int) -> tuple[NDArray[np.intp], NDArray[np.float32], int]:
        """Return for the next `count` input samples: window and taps of each output sample, and the phase afterwards."""
        key = (self._phase, count)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            times = np.arange(self._phase, count * self._up, self._down)
            places, phases = np.divmod(times, self._up)
            after = self._phase + len(times) * self._down - count * self._up
            plan = self._plans[key] = (places, self._taps[phases], after)
        return plan


def windows_of(line: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Return every window of `length` samples, shape (n, length), as a view of a contiguous line.

    numpy's sliding_window_view does the same in 15 us, a fifth of what a block from the sound card costs here otherwise.
    """
    return np.ndarray((len(line) - length + 1, length), np.float32, line, 0, 2 * line.strides)


def _half_length(up: int, down: int, lobes: int) -> int:
    """Return half the length of the filter, in samples at `up` times the input rate."""
    return lobes * max(up, down)


@functools.lru_cache(maxsize=4)
def _polyphase(up: int, down: int, lobes: int) -> NDArray[np.float32]:
    """Design the low-pass; row p holds the taps for output samples that lie p/`up` after an input sample, oldest sample first.

    Kaiser's formulas: J. F. Kaiser, "Nonrecursive digital filter design using the I0-sinh window function", 1974.
    """
    half = _half_length(up, down, lobes)
    beta = 0.1102 * (_STOPBAND_DB - 8.7)
    transition = (_STOPBAND_DB - 7.95) / (2.285 * math.pi * 2 * half)  # full width, 1 being the Nyquist frequency of up * rate_in
    cutoff = 1 / max(up, down) - transition / 2
    times = np.arange(-half, half + 1)
    prototype = cutoff * np.sinc(cutoff * times) * np.kaiser(len(times), beta)
    prototype *= up / prototype.sum()
    length = -(-len(prototype) // up)
    padded = np.zeros(length * up)
    padded[: len(prototype)] = prototype
    taps = np.ascontiguousarray(padded.reshape(length, up).T[:, ::-1], dtype=np.float32)
    taps.flags.writeable = False  # it is shared
    return taps


class Joiner:
    """Makes samples of PCM16 bytes that arrive cut anywhere, even in the middle of a sample."""

    def __init__(self) -> None:
        self._odd = b""

    def feed(self, pcm: bytes) -> NDArray[np.int16]:
        """Take the next little-endian bytes; return the samples that are complete. The array may be read-only."""
        if self._odd:
            pcm = self._odd + pcm
        whole = len(pcm) // 2
        self._odd = bytes(pcm[2 * whole :])
        return np.frombuffer(pcm, "<i2", whole).astype(np.int16, copy=False)

    def reset(self) -> None:
        """Forget a half sample, as at the start of another stream."""
        self._odd = b""


def dbfs(samples: NDArray[np.int16]) -> float:
    """Return the RMS level in dB relative to full scale (a full-scale sine is -3.01), at least `SILENCE_DBFS`."""
    if len(samples) == 0:
        return SILENCE_DBFS
    wide = samples.astype(np.float32)
    mean_square = float(np.dot(wide, wide)) / len(wide)
    return SILENCE_DBFS if mean_square == 0 else max(SILENCE_DBFS, 10 * math.log10(mean_square / 32768**2))
