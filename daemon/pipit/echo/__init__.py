"""Echo cancelling: the contract of a canceller."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Canceller(Protocol):
    """Takes the loudspeaker out of the microphone's sound. Used by the dsp thread only."""

    full_duplex: bool
    """Whether a person can be understood while Pipit speaks. Where not, the service hears silence during a reply."""

    def clean(self, microphone: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the block without the loudspeaker's sound: mono, 16 kHz, as many samples as went in."""

    def reset(self) -> None:
        """Forget the room."""


class Through:
    """Hands the microphone's sound on as it is: for devices that cancel by themselves, and for none at all."""

    def __init__(self, *, full_duplex: bool) -> None:
        self.full_duplex = full_duplex

    def clean(self, microphone: NDArray[np.int16]) -> NDArray[np.int16]:
        """Return the block itself."""
        return microphone

    def reset(self) -> None:
        """Do nothing: there is nothing to forget."""
