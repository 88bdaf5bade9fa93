"""Whether the linear canceller suffices in this room with this loudspeaker: then its sound tells sooner that a person talks."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from pipit.echo.proof import Proof

GOOD_DB, BAD_DB = 34.0, 30.0
"""Half a second of which so much, or less, was removed. In the simulated rooms the linear canceller removes 40 dB and more, also
with most kinds of distortion. Where a hard limit let it remove 31, or a cone's travel 23, it took what was left for a person."""

_NEEDED = 30
_PENALTY = 60
_RINGING_FRAMES = 10  # what was played 0.2 s ago still sounds
_SPAN_FRAMES = 25
_UNTIL_MEASURED_FRAMES = 65  # see `Proof`: half a second, and what is doubted


class Trust:
    """Needs a quarter of a minute of Pipit's voice that were removed well; half a second that was not costs half a minute.

    It does not reach beyond the highest peak that was among them: a loudspeaker distorts from some level on.
    """

    def __init__(self) -> None:
        self._proof = Proof()
        self._counted = 0
        self._good = 0
        self._proven_peak = 0
        self._peaks: deque[int] = deque(maxlen=_UNTIL_MEASURED_FRAMES)

    def __bool__(self) -> bool:
        """Say whether the canceller is trusted with what sounds now."""
        return self._good >= _NEEDED and max(list(self._peaks)[-_RINGING_FRAMES:]) <= self._proven_peak

    def feed(self, microphone: NDArray[np.int16], left: NDArray[np.int16], reference: NDArray[np.int16], talking: bool) -> None:
        """Take a frame; see `Proof.feed`."""
        self._peaks.append(max(int(reference.max()), -int(reference.min())))
        self._proof.feed(microphone, left, left, reference, talking)
        latest, counted = self._proof.latest, self._counted
        self._counted = self._proof.count
        if latest is None or latest.removed_db is None or counted == self._counted:
            return
        if latest.removed_db >= GOOD_DB:
            self._good += 1
            self._proven_peak = max(self._proven_peak, *list(self._peaks)[:_SPAN_FRAMES])
        elif latest.removed_db < BAD_DB:
            self._good, self._proven_peak = (-_PENALTY if self._good >= _NEEDED else min(self._good, 0)), 0
