"""Echo cancelling: the contract of a canceller."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Cleaned(NamedTuple):
    """What a canceller makes of one block."""

    speech: NDArray[np.int16]
    """The microphone's sound without the loudspeaker's: mono, 16 kHz, as many samples as went in."""
    removed_db: float
    """Echo return loss enhancement in this block, in dB; 0 where nothing played."""


class Canceller(Protocol):
    """Takes the loudspeaker out of the microphone's sound. Used by the dsp thread only."""

    full_duplex: bool
    """Whether the person can be heard while Pipit speaks."""

    def clean(self, microphone: NDArray[np.int16], reference: NDArray[np.int16]) -> Cleaned:
        """Process one block; both are mono int16 at 16 kHz and of equal length, `reference` what the loudspeaker played then."""

    def reset(self) -> None:
        """Forget the room."""
