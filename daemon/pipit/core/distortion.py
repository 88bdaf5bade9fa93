"""What a loudspeaker and its amplifier do to a sample before the room: a bend, found from what a linear filter could not explain.

A small loudspeaker at its limit plays the peaks weaker than the rest, and not the same to both sides. That is no filter, and what
it adds is heard after everything linear is gone. So the reference is bent as the loudspeaker bends it: straight up to the first of
a few fixed levels, and from each level on with another slope, on either side. The changes of slope are the only unknowns, and each
of them is heard through the filter that is known by then; a least squares fit of so few numbers is hardly disturbed by a person who
talks. Quiet sound stays as it is.

A bend followed by a filter is Hammerstein's model; as here, but with splines: M. Scarpiniti, D. Comminiello, R. Parisi, A. Uncini,
"Hammerstein uniform cubic spline adaptive filters: learning and convergence properties", Signal Processing 100, 2014.
"""

from __future__ import annotations

import functools
from collections import deque

import numpy as np

from pipit.core.kalman import Floats, Spectra

LEVELS: tuple[float, ...] = (0.02, 0.035, 0.06, 0.1, 0.17, 0.28, 0.45)
"""Where the slope may change, either side of zero. The volume is in the reference already, but how far an amplifier is turned up is
not known; so they are spread evenly over what is audible, 4 to 5 dB apart. Where a hard limit lies between two of them 26 dB of the
echo were removed; with steps of 6 to 8 dB, 22."""

BENDS = 2 * len(LEVELS)

_FORGET = 0.999  # per block: 20 s; three times as long or as short makes no difference
_SURE = 20.0  # inverse variance of a change of slope of which nothing was heard lately
_EARLY = 3  # partitions: the direct sound and the first reflections, that is; two remove as much


class Distortion:
    """Bends the reference, block by block, and learns how.

    Args:
        block: samples in a block, as the filter's.
    """

    def __init__(self, block: int = 320) -> None:
        self.bends: Floats = np.zeros(BENDS, np.float32)
        """Change of slope above each of `LEVELS`, then below each of the negative ones; replaced as a whole."""
        self._levels: Floats = np.array([LEVELS], np.float32).T
        self._block = block
        self._known = _SURE * np.eye(BENDS + 1)
        self.quiet()

    def quiet(self) -> None:
        """Forget the sound so far, but not the bend."""
        self._last: Floats = np.zeros((BENDS + 1, self._block), np.float32)
        self._spectra: deque[Spectra] = deque(maxlen=_EARLY)
        self._heard: Spectra = np.zeros((BENDS + 1, self._block + 1), np.complex64)

    def play(self, reference: Floats, path: Spectra) -> Floats:
        """Take the next block, 1.0 being full scale; return it as the loudspeaker plays it.

        Args:
            reference: shape (block,).
            path: the filter that the sound goes through then; see `KalmanFilter.weights`.
        """
        # The last row is the reference itself: a change of the gain is the filter's. Were it not fitted, the bends would take its
        # place, towards less gain, for that is what a filter that errs always seems to need.
        rows = np.concatenate((np.maximum(reference - self._levels, 0), np.minimum(reference + self._levels, 0), reference[None]))
        self._spectra.appendleft(np.fft.rfft(np.concatenate((self._last, rows), axis=1), axis=1).astype(np.complex64, copy=False))
        self._last = rows
        self._heard = functools.reduce(np.add, map(np.multiply, self._spectra, path))
        played: Floats = reference + self.bends @ rows[:BENDS]
        return played

    def learn(self, error: Spectra, innovation: Floats) -> None:
        """Fit the bend to what the filter could not explain of the block that was played last; see `KalmanFilter`."""
        # Real and imaginary parts side by side. What the filter does not know itself, or does not expect, counts little.
        weighted = (self._heard / innovation).view(np.float32)
        # Half: of the 2 * block points of the error only `block` are sound (see `core.kalman`).
        self._known = _FORGET * self._known + 0.5 * weighted @ self._heard.view(np.float32).T
        self._known.flat[:: BENDS + 2] += (1 - _FORGET) * _SURE
        change = np.linalg.solve(self._known, weighted @ error.view(np.float32))
        self.bends = self.bends + change[:BENDS].astype(np.float32)
