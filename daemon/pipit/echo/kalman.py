"""A linear echo canceller alone: leaves the person whole, and the wake word, but a service hears what it leaves of Pipit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipit.echo import Canceller, Cleaned
from pipit.echo.cancelling import Cancelling, ProvenSettings
from pipit.echo.linear import Linear
from pipit.echo.memory import Memory
from pipit.echo.talking import Talking


@dataclass(frozen=True)
class Settings(ProvenSettings):
    """A frequency-domain Kalman filter."""


def build(settings: Settings) -> Canceller:
    """Return the canceller."""
    return Kalman(settings.floor_db)


class Kalman(Cancelling):
    """A linear canceller, and a voice activity detector behind it."""

    def __init__(self, floor_db: float) -> None:
        super().__init__(floor_db)
        self._linear = Linear()
        self._talking = Talking(slipped=self._linear.slipped)
        self._talks = False
        self._first = True

    def remember(self, memory: Memory) -> bool:
        """See `pipit.echo.Canceller`."""
        used = self._linear.remember(memory)
        self.drift, self.lag_s = self._linear.drift, self._linear.lag_s
        return used

    def begin(self) -> None:
        """See `Cancelling`."""
        self._linear.quiet()
        self._talking.rest()
        self._talks, self._first = False, True

    def work(self, microphone: NDArray[np.int16], reference: NDArray[np.int16]) -> Cleaned:
        """See `Cancelling`."""
        left = self._linear.step(microphone, reference, talking=self._talks)
        self.drift, self.lag_s = self._linear.drift, self._linear.lag_s
        if self._first:
            self._first = False
            return Cleaned(left[:0], left[:0], False)
        self._talks = self._talking.feed(left, microphone, reference)
        return Cleaned(left, left, self._talks)

    def finish(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """See `Cancelling`."""
        self.memory = self._linear.memory or self.memory
        last = self._linear.rest()
        return last, last
