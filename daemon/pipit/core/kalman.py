"""The loudspeaker's way to the microphone, learnt while it sounds and taken out: a partitioned frequency-domain Kalman filter.

The echo is the reference through an unknown linear system: loudspeaker, room, microphone. Each frequency of each partition of its
impulse response is one state of a Kalman filter with a diagonal covariance, so the step size follows by itself from how uncertain
the state is and how loud everything else is; talking over the loudspeaker therefore does not drive the filter away.

G. Enzner, P. Vary, "Frequency-domain adaptive Kalman filter for acoustic echo control in hands-free telephones", Signal Processing
86, 2006; partitions: F. Kuech, E. Mabande, G. Enzner, "State-space architecture of the partitioned-block-based acoustic echo
controller", ICASSP 2014.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Spectra = NDArray[np.complex64]

MOVING = 0.997
"""How much of the state is kept from block to block while the echo path moves, because two clocks drift: the impulse response keeps
up with 100 ppm, so that the loop that corrects it (`core.drift`) sees the movement within a few seconds. With 0.999 it took 8 to
20 s of sound to find 100 ppm."""

STILL = 0.9998
"""The same while it stands still. A person who talks over it disturbs the filter the less: an intelligibility (STOI) of
0.986 against 0.967 with 0.999, at the level of the echo."""

_NOISE_MEMORY = 0.9  # smoothing of the residual's spectrum: about ten blocks
_LEAST_NOISE = 1e-7
_LEAST_DOUBT = 1e-10
_DOUBT_WHEN_KNOWN = 0.02  # variance of a state that was learnt before, relative to its power: enough to correct it, not to lose it


class KalmanFilter:
    """Estimates the echo block by block. Samples are floats, 1.0 being full scale.

    Args:
        block: samples in a block; the transform has twice as many points.
        partitions: blocks that the impulse response covers.
    """

    def __init__(self, block: int = 320, partitions: int = 10) -> None:
        self.block = block
        self.partitions = partitions
        self.keep(MOVING)
        self.reset()

    def keep(self, share: float) -> None:
        """Set how much of the state is kept from block to block; see `MOVING` and `STILL`."""
        self._keep = np.float32(share)
        self._keep_power = np.float32(share**2)
        self._walk = np.float32(1 - share**2)

    def reset(self) -> None:
        """Forget the room and the sound."""
        shape = (self.partitions, self.block + 1)
        self.weights: Spectra = np.zeros(shape, np.complex64)
        """Of each partition, the newest first."""
        self._doubt: Floats = np.ones(shape, np.float32)
        self.quiet()

    def quiet(self) -> None:
        """Forget the sound so far, but not the room: the loudspeaker has been silent for longer than the impulse response."""
        self._spectra: Spectra = np.zeros((self.partitions, self.block + 1), np.complex64)
        self._noise: Floats = np.full(self.block + 1, 1e-6, np.float32)
        self._last: Floats = np.zeros(self.block, np.float32)
        self.echo: Floats = np.zeros(self.block, np.float32)
        """What was taken out of the last block."""
        self.error: Spectra = np.zeros(self.block + 1, np.complex64)
        """Spectrum of what was left of it, after a block of zeros."""
        self.innovation: Floats = np.ones(self.block + 1, np.float32)
        """The power that was expected of it: noise, and what is not known of the echo."""

    def step(self, reference: Floats, microphone: Floats) -> Floats:
        """Take the next block of both; return the microphone's without the echo."""
        block = self.block
        both = np.concatenate((self._last, reference))
        self._last = reference
        spectra = self._spectra
        spectra[1:] = spectra[:-1]
        spectra[0] = np.fft.rfft(both)
        self.echo = _float(np.fft.irfft(np.einsum("pf,pf->f", spectra, self.weights))[block:])
        residual: Floats = microphone - self.echo
        self.error = _spectrum(np.concatenate((np.zeros(block, np.float32), residual)))
        self._learn(spectra, self.error)
        return residual

    def _learn(self, spectra: Spectra, error: Spectra) -> None:
        power = spectra.real**2 + spectra.imag**2
        self._noise = _float(_NOISE_MEMORY * self._noise + (1 - _NOISE_MEMORY) * (error.real**2 + error.imag**2))
        doubtful = self._doubt * power
        # Half: of the 2 * block points of the error only `block` are sound, the rest is zero.
        self.innovation = innovation = 0.5 * doubtful.sum(0) + self._noise + np.float32(_LEAST_NOISE)
        gain = self._doubt / innovation
        change = np.fft.irfft(gain * spectra.conj() * error, axis=1)
        change[:, self.block :] = 0  # an impulse response of `block` taps per partition: without this the convolution is circular
        self.weights += np.fft.rfft(change, axis=1).astype(np.complex64, copy=False)
        self.weights *= self._keep
        self._doubt = self._keep_power * (self._doubt - 0.5 * doubtful / innovation * self._doubt)
        self._doubt += self._walk * (self.weights.real**2 + self.weights.imag**2)
        np.maximum(self._doubt, np.float32(_LEAST_DOUBT), out=self._doubt)

    @property
    def response(self) -> Floats:
        """The impulse response as far as it is known, shape (block * partitions,)."""
        return _float(np.fft.irfft(self.weights, axis=1)[:, : self.block].ravel())

    def know(self, response: Floats) -> None:
        """Start from an impulse response that was learnt before.

        Raises:
            ValueError: it has another length, or is no sound number.
        """
        expected = self.block * self.partitions
        if response.shape != (expected,) or not np.isfinite(response).all():
            raise ValueError(f"an impulse response of shape {response.shape}: must be {expected} finite numbers")
        padded = np.zeros((self.partitions, 2 * self.block), np.float32)
        padded[:, : self.block] = response.reshape(self.partitions, self.block)
        self.weights = np.fft.rfft(padded, axis=1).astype(np.complex64, copy=False)
        power = self.weights.real**2 + self.weights.imag**2
        self._doubt = _float(_DOUBT_WHEN_KNOWN * np.maximum(power, power.mean(axis=1, keepdims=True)) + _LEAST_DOUBT)


def moved(response: Floats, samples: float) -> Floats:
    """Return an impulse response, later by so many samples (earlier if negative); what leaves it at the ends is lost."""
    length = len(response)
    turned = np.fft.rfft(response, 2 * length) * np.exp(-1j * np.pi * samples * np.arange(length + 1) / length)
    return _float(np.fft.irfft(turned)[:length])


def _float(values: NDArray[np.floating]) -> Floats:
    return values.astype(np.float32, copy=False)


def _spectrum(samples: Floats) -> Spectra:
    return np.fft.rfft(samples).astype(np.complex64, copy=False)
