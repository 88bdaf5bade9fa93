"""How long to wait before trying again: longer each time, up to a limit, and never in step with others."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """A sequence of delays that grows from `first_s` to `limit_s`.

    Args:
        random: returns a number of at least 0 and below 1, like random.random.
        first_s: the first delay, before jitter.
        limit_s: no delay is longer, jitter included.
        factor: by how much a delay grows from one failure to the next, at least 1.
        jitter: which part of a delay is left to chance, 0 to 1: a delay of 10 s with 0.5 is 5 to 10 s. Without it all speakers of
            a house would return at the same moment after a power cut.
    """

    def __init__(
        self,
        random: Callable[[], float],
        *,
        first_s: float = 0.5,
        limit_s: float = 30.0,
        factor: float = 2.0,
        jitter: float = 0.5,
    ) -> None:
        self._random = random
        self._first_s = first_s
        self._limit_s = limit_s
        self._factor = factor
        self._jitter = jitter
        self._base_s = first_s

    def next_s(self) -> float:
        """Return how long to wait after one more failure, in seconds."""
        base_s = min(self._base_s, self._limit_s)
        self._base_s = min(base_s * self._factor, self._limit_s)
        return base_s * (1 - self._jitter * self._random())

    def reset(self) -> None:
        """Begin anew: it worked."""
        self._base_s = self._first_s
