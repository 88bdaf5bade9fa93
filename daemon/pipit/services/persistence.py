"""Whether a provider whose session was lost is tried once more, and when. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Callable

from pipit.core.backoff import Backoff

TRIES = 3
"""How often in a row one provider is tried, before the next."""

ALONE_S = 8.0
"""Where no other provider is left, the same is tried for so long: a radio that changes its channel is gone for seconds."""

STEADY_S = 5.0
"""A session that was dropped sooner counts as one more failure in a row."""

LOSSES, LOSSES_S = 8, 60.0
"""With more losses in this time the conversation is given up: providers that take every session and drop it at once."""


class Persistence:
    """Counts what was lost in one conversation.

    Args:
        random: see `Backoff`.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._backoff = Backoff(random, first_s=0.3, limit_s=4.0)
        self._tries = 0
        self._begun = 0.0
        """When the first of these failures was."""
        self._losses: list[float] = []

    def lost(self, now: float, lasted_s: float) -> None:
        """A session is over, or could not be had.

        Args:
            now: the time, in seconds.
            lasted_s: for how long there was one; 0 if it never was ready.
        """
        self._tries = 1 if lasted_s > STEADY_S else self._tries + 1
        if self._tries == 1:
            self._begun = now
            self._backoff.reset()
        self._losses = [*(time for time in self._losses if now - time < LOSSES_S), now]

    def again(self, now: float, *, alone: bool) -> bool:
        """Return whether the same provider is worth another attempt; `alone`: there is no other."""
        return self._tries < TRIES or (alone and now - self._begun < ALONE_S)

    @property
    def hopeless(self) -> bool:
        """Whether so many sessions were lost that no provider is worth it."""
        return len(self._losses) > LOSSES

    def delay_s(self) -> float:
        """Return how long to wait before the attempt, in seconds: a steady session is replaced at once."""
        return 0.0 if self._tries == 1 else self._backoff.next_s()

    def change(self) -> None:
        """Another provider has its turn."""
        self._tries = 0
