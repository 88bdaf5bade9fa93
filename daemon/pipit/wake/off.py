"""No wake word: a speaker that is called by its button only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipit.wake import Engine, Wake

if TYPE_CHECKING:
    import numpy as np
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

    def detect(self, block: NDArray[np.int16]) -> Wake | None:
        """Return None."""
        return None

    def scores(self) -> dict[str, float]:
        """Return no scores."""
        return {}

    def reset(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
