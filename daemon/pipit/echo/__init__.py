"""Echo cancelling: the contract of a canceller."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipit.echo.memory import Memory
from pipit.echo.proof import Proof


class Cleaned(NamedTuple):
    """What a canceller makes of a frame: whole frames, mono, 16 kHz, none or several of them.

    A canceller may hold frames back while Pipit speaks, and gives all of them out afterwards; none is lost or doubled.
    """

    speech: NDArray[np.int16]
    """For the service: what Pipit itself said is not in it."""
    ears: NDArray[np.int16]
    """For the wake word engine: the same samples with all of the person in them, and perhaps something of Pipit. As many."""
    talking: bool
    """Whether a person talks over Pipit now: later sound than that in `speech`. False while the loudspeaker is silent."""
    clear: bool = True
    """Whether a service may hear `speech` during a reply. False where it is nobody, and may yet be taken for somebody."""
    left: NDArray[np.int16] | None = None
    """What the proof is to measure, as many samples, where that is not `speech`: whoever talks is in it as little as can be."""


class Canceller(Protocol):
    """Takes the loudspeaker out of the microphone's sound. Used by the dsp thread only, but for what is said to be for others."""

    full_duplex: bool
    """Whether it can let a person be understood while Pipit speaks. Where not, the service hears silence during a reply."""
    proof: Proof | None
    """Where what it removes is measured, before `full_duplex` is believed; None where there is nothing to measure. Any thread."""
    drift: float
    """How much faster than nominal it wants the reference to be read, as a fraction."""
    lag_s: float
    """How much later than the time stamps say the echo comes, as it found."""
    memory: Memory | None
    """What it knows of this room, replaced as a whole after each reply. Any thread."""

    def clean(self, microphone: NDArray[np.int16], reference: NDArray[np.int16] | None) -> Cleaned:
        """Take the next frame: 20 ms, mono, 16 kHz.

        Args:
            microphone: what was heard, shape (320,).
            reference: what the loudspeaker played at the same time, in the same shape; None where that is digital silence.
        """

    def remember(self, memory: Memory) -> bool:
        """Start from what was known before; say whether it was of use. Called before the first frame."""


class Through:
    """Hands the microphone's sound on as it is, and believes what it is told."""

    proof: Proof | None = None
    drift = 0.0
    lag_s = 0.0
    memory: Memory | None = None

    def __init__(self, *, full_duplex: bool) -> None:
        self.full_duplex = full_duplex

    def clean(self, microphone: NDArray[np.int16], reference: NDArray[np.int16] | None) -> Cleaned:
        """Return the frame itself."""
        return Cleaned(microphone, microphone, False)

    def remember(self, memory: Memory) -> bool:
        """Return False: there is nothing to know."""
        return False
