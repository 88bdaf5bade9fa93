"""WebRTC's echo canceller (AEC3) alone: little to compute, never hears itself; but a wake word over a loud reply is lost in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipit.echo import Canceller, Cleaned
from pipit.echo.aec3 import Aec3
from pipit.echo.cancelling import Cancelling, ProvenSettings
from pipit.echo.talking import Talking


@dataclass(frozen=True)
class Settings(ProvenSettings):
    """WebRTC's echo canceller."""


def build(settings: Settings) -> Canceller:
    """Return the canceller."""
    return WebRtc(settings.floor_db)


class WebRtc(Cancelling):
    """One AEC3, and a voice activity detector behind it."""

    def __init__(self, floor_db: float) -> None:
        super().__init__(floor_db)
        self._aec3 = Aec3()
        self._talking = Talking()

    def begin(self) -> None:
        """See `Cancelling`."""
        self._aec3.quiet()
        self._talking.rest()

    def work(self, microphone: NDArray[np.int16], reference: NDArray[np.int16]) -> Cleaned:
        """See `Cancelling`."""
        left = self._aec3.step(microphone, reference)
        return Cleaned(left, left, self._talking.feed(left, microphone, reference))
