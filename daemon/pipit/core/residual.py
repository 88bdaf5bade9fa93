"""What a linear echo canceller leaves, because loudspeakers distort and rooms are longer than filters: pressed down by frequency.

Each band of the residual is attenuated by how much of it must be echo: the power of the estimated echo times a leakage, which is
learnt as the regression of the residual's power on the echo's. Where a person talks, the residual's power does not follow the
echo's, and the band passes.

J.-M. Valin, "On adjusting the learning rate in frequency domain echo cancellation with double-talk", IEEE TASLP 15, 2007 (leakage).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LEAST_GAIN = 10 ** (-18 / 20)
_LEAST_LEAKAGE = 0.0005
_FIRST_LEAKAGE_POWER = 1e-9
_OVER = 2.0  # attenuates for twice the echo that is expected: what is left comes in bursts
_SLOW = 0.995  # of the regression, per block: 4 s
_MEAN = 0.95
_DECAY = 0.75  # the room goes on ringing after the echo's estimate has fallen
_ACTIVE = 1e-6
_GAIN_MEMORY = 0.4


class ResidualSuppressor:
    """Attenuates what is left of the echo. What goes in comes out one block later.

    Args:
        block: samples in a block.
    """

    def __init__(self, block: int = 320) -> None:
        self.block = block
        self._window: Floats = np.sqrt(np.hanning(2 * block + 1)[:-1]).astype(np.float32)
        bands = block + 1
        self._gain = np.ones(bands, np.float32)
        self._left_mean = np.zeros(bands, np.float32)
        self._echo_mean = np.zeros(bands, np.float32)
        self._both = np.zeros(bands, np.float32)
        self._square = np.full(bands, _FIRST_LEAKAGE_POWER, np.float32)
        self.quiet()

    def quiet(self) -> None:
        """Forget the sound so far, but not the leakage."""
        self._last_left = np.zeros(self.block, np.float32)
        self._last_echo = np.zeros(self.block, np.float32)
        self._overlap = np.zeros(self.block, np.float32)
        self._echo = np.zeros(self.block + 1, np.float32)
        self._left = np.zeros(self.block + 1, np.float32)

    def step(self, left: Floats, echo: Floats) -> Floats:
        """Take the next block of the residual and of the echo's estimate; return the block before."""
        spectrum = np.fft.rfft(np.concatenate((self._last_left, left)) * self._window)
        echo_spectrum = np.fft.rfft(np.concatenate((self._last_echo, echo)) * self._window)
        self._last_left, self._last_echo = left, echo
        left_power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        echo_power = (echo_spectrum.real**2 + echo_spectrum.imag**2).astype(np.float32)
        leakage = self._learn(left_power, echo_power)
        self._echo = np.maximum(echo_power, np.float32(_DECAY) * self._echo)
        self._left = np.float32(0.3) * self._left + np.float32(0.7) * left_power
        gain = np.maximum(1 - _OVER * leakage * self._echo / (self._left + np.float32(1e-9)), np.float32(_LEAST_GAIN))
        self._gain = (_GAIN_MEMORY * self._gain + (1 - _GAIN_MEMORY) * gain).astype(np.float32)
        whole = np.fft.irfft(spectrum * self._gain).astype(np.float32) * self._window
        done: Floats = self._overlap + whole[: self.block]
        self._overlap = whole[self.block :]
        return done

    def _learn(self, left: Floats, echo: Floats) -> Floats:
        self._left_mean = np.float32(_MEAN) * self._left_mean + np.float32(1 - _MEAN) * left
        self._echo_mean = np.float32(_MEAN) * self._echo_mean + np.float32(1 - _MEAN) * echo
        left_change, echo_change = left - self._left_mean, echo - self._echo_mean
        active = echo > _ACTIVE
        slow, quick = np.float32(_SLOW), np.float32(1 - _SLOW)
        self._both = np.where(active, slow * self._both + quick * left_change * echo_change, self._both)
        self._square = np.where(active, slow * self._square + quick * echo_change**2, self._square)
        leakage: Floats = np.clip(self._both / (self._square + np.float32(1e-12)), _LEAST_LEAKAGE, 1.0)
        return leakage
