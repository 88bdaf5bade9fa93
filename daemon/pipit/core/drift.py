"""Two clocks: how much faster the loudspeaker's runs than the microphone's, found from the echo itself.

The sample clocks of two sound cards differ by up to 100 ppm. Then the echo slowly moves against the reference, 1.6 samples a
second at 16 kHz, and a canceller never catches up. The impulse response that it learns moves too, and that movement is the
measure: the loop here turns it into a rate, by which whoever reads the reference reads it faster or slower, until the impulse
response stands still. Time stamps of the sound system cannot do this: theirs were wrong by 75 to 230 ppm over 40 s behind
PulseAudio.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LIMIT = 3e-4
"""Crystals are better than 100 ppm each; more is a measurement gone wrong."""

PERIOD_S = 1.5
"""How much sound passes between two looks at the impulse response."""

_GAIN = 0.6
_STILL = 2e-6  # what two clocks that are followed still seem to drift
_MOVING = 5e-6
_STILL_LOOKS = 3
_STALE_S = 6.0
_FINE = 8  # correlation is interpolated to 1/8 sample, and from there by a parabola
_REACH = 8  # a jump by more samples than this is no drift
_ALIKE = 0.5  # correlation of two looks at the same room, at least


class DriftLoop:
    """Follows the drift between two clocks.

    Args:
        rate_hz: sample rate of the impulse response.
    """

    def __init__(self, rate_hz: int) -> None:
        self.drift = 0.0
        """How much faster than nominal the reference is to be read, as a fraction: 1e-4 is 100 ppm."""
        self.settled = False
        """Whether the impulse response stands still."""
        self._rate_hz = rate_hz
        self._still = 0
        self._since_s = 0.0
        self._sounding_s = 0.0
        self._before: NDArray[np.float32] | None = None

    def pass_time(self, seconds: float, *, sounding: bool) -> bool:
        """Count time; return True when it is time for `look`.

        Args:
            seconds: how much has passed.
            sounding: whether the loudspeaker could be heard and nobody talked.
        """
        self._since_s += seconds
        if sounding:
            self._sounding_s += seconds
        return self._sounding_s >= PERIOD_S

    def look(self, response: NDArray[np.float32]) -> None:
        """Compare the impulse response with what it was, and correct the rate."""
        before, elapsed_s = self._before, self._since_s
        self._before, self._since_s, self._sounding_s = response, 0.0, 0.0
        if before is None or elapsed_s > _STALE_S:
            return
        later = movement(before, response, _REACH, _ALIKE)
        if later is not None and abs(later) < _REACH - 1:
            moving = later / (elapsed_s * self._rate_hz)
            self.drift = min(LIMIT, max(-LIMIT, self.drift - _GAIN * moving))
            self._settle(abs(moving))

    def know(self, drift: float) -> None:
        """Start from a drift that was found before."""
        self.drift, self._still, self.settled = min(LIMIT, max(-LIMIT, drift)), _STILL_LOOKS, True

    def _settle(self, moving: float) -> None:
        self._still = self._still + 1 if moving < _STILL else 0
        if moving > _MOVING:
            self.settled = False
        elif self._still >= _STILL_LOOKS:
            self.settled = True

    def unsettle(self) -> None:
        """Be less sure: the impulse response has to be learnt anew."""
        self._still, self.settled = 0, False

    def interrupt(self) -> None:
        """Forget the last look: the reference or the filter has jumped."""
        self._before, self._since_s, self._sounding_s = None, 0.0, 0.0


def movement(before: NDArray[np.float32], after: NDArray[np.float32], reach: int, alike: float = 0.0) -> float | None:
    """Return by how many samples `after` is later than `before`, within `reach` either way.

    None if either is empty, or if they are less alike than `alike` (their correlation, at most 1).
    """
    length = 2 * len(before)
    product = np.fft.rfft(after, length) * np.conj(np.fft.rfft(before, length))
    if not np.any(product):
        return None
    spectrum = np.zeros(_FINE * length // 2 + 1, np.complex128)
    spectrum[: len(product)] = product
    correlation = np.fft.irfft(spectrum)
    reached = reach * _FINE
    near = np.concatenate((correlation[-reached:], correlation[: reached + 1]))
    if near.max() * _FINE < alike * float(np.linalg.norm(before) * np.linalg.norm(after)):
        return None
    return (_peak(near) - reached) / _FINE


def _peak(values: NDArray[np.float64]) -> float:
    """Return the place of the largest value, between the samples: the top of the parabola through it and its neighbours."""
    at = int(np.argmax(values))
    if not 0 < at < len(values) - 1:
        return float(at)
    left, top, right = (float(v) for v in values[at - 1 : at + 2])
    bend = left - 2 * top + right
    return at + (0.5 * (left - right) / bend if bend else 0.0)
