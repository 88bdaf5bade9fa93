"""Wake words: the contract of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray


class Wake(NamedTuple):
    """A recognised wake word."""

    word: str
    """The model's name: "hey_jarvis"."""
    score: float
    """0 to 1."""


class Detector(Protocol):
    """Hears wake words in a stream of sound. Used by one thread at a time."""

    words: tuple[str, ...]
    """Names of the words it listens for."""

    def detect(self, block: NDArray[np.int16] | ReadableBuffer, *, interrupting: bool = False) -> Wake | None:
        """Feed the next samples: mono int16 at 16 kHz, any number of them.

        Args:
            block: the samples.
            interrupting: whether a word would interrupt Pipit's own voice, for which a lower score is enough.

        Returns the strongest word that crossed its threshold within this block, or None. One utterance is reported once
        (refractory time).
        """

    def near_miss(self) -> Wake | None:
        """Return the word that came near its threshold and did not reach it since the last call, with its highest score."""

    def scores(self) -> dict[str, float]:
        """Return the latest score of each word, 0 to 1; 0 where it was not looked for."""

    def reset(self) -> None:
        """Forget the sound heard so far, as at the start. Deterministic."""

    def close(self) -> None:
        """Free the models. May be called twice."""


class Engine(Detector, Protocol):
    """A detector that can let sound go by: what a plug-in of this folder builds."""

    frame: int
    """Samples between two scores."""
    look_back: int
    """How many samples before a frame the frame's scores depend on."""

    def follow(self, block: NDArray[np.int16] | ReadableBuffer) -> None:
        """Feed samples in which no word is looked for, so that those after them are scored as ever. Cheaper than `detect`."""

    def skip(self, samples: int) -> None:
        """Let time pass of which nothing is fed. What is scored next is wrong until `look_back` samples were fed."""
