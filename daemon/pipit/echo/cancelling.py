"""What engines that cancel have in common: nothing is computed while the loudspeaker is silent, nothing is lost at its edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipit.core.options import option
from pipit.core.pcm import HEARING_RATE_HZ
from pipit.echo import Cleaned
from pipit.echo.memory import Memory
from pipit.echo.proof import FLOOR_DB, Proof

FRAME = HEARING_RATE_HZ // 50
REST_FRAMES = 35
"""After so much digital silence nothing of the loudspeaker is in the room: the longest echo, 0.2 s, and half a second."""

_SILENCE = np.zeros(FRAME, np.int16)
_NOTHING = np.zeros(0, np.int16)


@dataclass(frozen=True)
class ProvenSettings:
    """What every engine that cancels can be told."""

    floor_db: float = option(
        FLOOR_DB,
        "How much of Pipit's voice has to be removed before you may talk over it; below, Pipit hears nothing while it speaks.",
        unit="dB",
        minimum=0,
        maximum=60,
    )


class Cancelling:
    """A `pipit.echo.Canceller` around one that works all the time.

    Args:
        floor_db: see `pipit.echo.proof.Proof`.
    """

    full_duplex = True
    drift = 0.0
    lag_s = 0.0

    def __init__(self, floor_db: float) -> None:
        self.proof: Proof | None = Proof(floor_db)
        self.memory: Memory | None = None
        self._silent = REST_FRAMES
        self._resting = True

    def clean(self, microphone: NDArray[np.int16], reference: NDArray[np.int16] | None) -> Cleaned:
        """See `pipit.echo.Canceller`."""
        self._silent = self._silent + 1 if reference is None else 0
        if self._silent > REST_FRAMES:
            return self._rest(microphone)
        if self._resting:
            self._resting = False
            self.begin()
        return self.work(microphone, _SILENCE if reference is None else reference)

    def _rest(self, microphone: NDArray[np.int16]) -> Cleaned:
        if self._resting:
            return Cleaned(microphone, microphone, False)
        self._resting = True
        speech, ears = self.finish()
        return Cleaned(np.concatenate((speech, microphone)), np.concatenate((ears, microphone)), False)

    def remember(self, memory: Memory) -> bool:
        """See `pipit.echo.Canceller`."""
        return False

    def begin(self) -> None:
        """Prepare for sound after a time without."""

    def work(self, microphone: NDArray[np.int16], reference: NDArray[np.int16]) -> Cleaned:
        """Cancel one frame."""
        raise NotImplementedError

    def finish(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Return what is still held back, for the service and for the wake word."""
        return _NOTHING, _NOTHING
