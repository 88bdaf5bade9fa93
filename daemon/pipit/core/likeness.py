"""Whether what was played is in what was heard, and how much later: a whitened correlation of the two.

C. H. Knapp, G. C. Carter, "The generalized correlation method for estimation of time delay", IEEE TASSP 24, 1976; whitened only in
part, because speech leaves many frequencies empty, where only noise would be amplified.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_WHITENING = 0.7


class Likeness(NamedTuple):
    """The best match."""

    lag: int
    """By how many samples it is later in what was heard; negative: earlier."""
    prominence: float
    """How far the match stands out of all others, in standard deviations. One second of speech in which an echo of the other can be
    found makes 15 to 65, whether a person talks as well or not; what else was said makes 3 to 10 (simulated rooms)."""


def likeness(heard: NDArray[np.floating], played: NDArray[np.floating], early: int) -> Likeness:
    """Look for `played` in `heard`.

    Args:
        heard: the latest sound, shape (n,).
        played: as much and more, to the same moment, shape (n + m,): lags of up to m are looked at.
        early: how many samples before its cause it is looked for as well.
    """
    size = 2 * len(played)
    cross = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(played, size))
    whitened = cross / (np.abs(cross) ** _WHITENING + 1e-12)
    longest = len(played) - len(heard)
    correlation = np.abs(np.roll(np.fft.irfft(whitened), longest + early)[: longest + early])
    spread = float(np.sqrt(np.mean(correlation**2)))
    at = int(np.argmax(correlation))
    return Likeness(at - early, float(correlation[at]) / spread if spread else 0.0)
