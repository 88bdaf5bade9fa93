"""What a wake word's own network is: the last W embeddings in, one score out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

EMBEDDING = 96
"""Numbers in an embedding; there is one for every 80 ms."""

EMBEDDING_BYTES = 4 * EMBEDDING


class NotAModel(ValueError):
    """The file is no model, or not one that can be run here; says why."""


class Classifier(Protocol):
    """One wake word."""

    window: int
    """How many embeddings it looks at: 16 for most words, 22 or 34 for longer phrases."""

    def score(self, embeddings: memoryview) -> float:
        """Return 0 to 1 for the last `window` embeddings: float32, oldest first, as bytes."""

    def close(self) -> None:
        """Free the model. May be called twice."""


def check(is_float: bool, inputs: Sequence[Sequence[object]], outputs: Sequence[Sequence[object]]) -> int:
    """Return the window of a model with these shapes.

    Args:
        is_float: whether its first input takes float32.
        inputs: shapes of its inputs; an unknown dimension may be anything that is no int.
        outputs: shapes of its outputs.

    Raises:
        NotAModel: it is not one of openWakeWord's kind.
    """
    match inputs:
        case [[_, int(window), int(size)]] if is_float and size == EMBEDDING and window > 0:
            pass
        case _:
            kind = "" if is_float else " that are not float32"
            raise NotAModel(f"it is no openWakeWord model: it takes {_shapes(inputs)}{kind}, not 1 x W x {EMBEDDING} float32")
    if len(outputs) != 1 or any(size > 1 for size in outputs[0] if isinstance(size, int)):
        raise NotAModel(f"it gives {_shapes(outputs)}, where Pipit needs a single score: train it for one phrase")
    return window


def _shapes(shapes: Sequence[Sequence[object]]) -> str:
    return " and ".join(" x ".join(str(size) for size in shape) or "a scalar" for shape in shapes) or "nothing"
