"""No wake word: a speaker that is called by its button only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipit.wake import Engine, Wake

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Settings:
    """Nothing to set."""


def build(settings: Settings) -> Engine:
    """Return the engine that hears nothing."""
    return Deaf()


class Deaf:
    """Never hears a wake word."""

    words: tuple[str, ...] = ()
    frame = 320
    look_back = 0

    def detect(self, block: NDArray[np.int16] | ReadableBuffer, *, interrupting: bool = False) -> Wake | None:
        """Return None."""
        return None

    def follow(self, block: NDArray[np.int16] | ReadableBuffer) -> None:
        """Do nothing."""

    def skip(self, samples: int) -> None:
        """Do nothing."""

    def near_miss(self) -> Wake | None:
        """Return None."""
        return None

    def scores(self) -> dict[str, float]:
        """Return no scores."""
        return {}

    def reset(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
