"""Wake words: the contract of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Wake(NamedTuple):
    """A recognised wake word."""

    word: str
    """The model's name: "hey_jarvis"."""
    score: float
    """0 to 1."""


class Engine(Protocol):
    """Hears wake words in a stream of sound. Used by one thread at a time."""

    words: tuple[str, ...]
    """Names of the words it listens for."""

    def detect(self, block: NDArray[np.int16]) -> Wake | None:
        """Feed the next samples: mono int16 at 16 kHz, any number of them.

        Returns the strongest word that crossed its threshold within this block, or None. One utterance is reported once
        (refractory time).
        """

    def scores(self) -> dict[str, float]:
        """Return the latest score of each word, 0 to 1."""

    def reset(self) -> None:
        """Forget the sound heard so far, as at the start. Deterministic."""

    def close(self) -> None:
        """Free the models. May be called twice."""
