"""What limits conversations: how long one may last, and how many minutes a day there are. Pure: the time is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipit.core.allowance import Allowance

WARNING_S = 60.0
"""A cap is announced so long before it bites, or in the middle of what is left."""

LEAST_S = 10.0
"""Of less than that nothing is said: it would be over before the sentence is."""

GRACE_S = 30.0
"""So long after the day's minutes are used up may a reply go on."""

_AGAIN_S = 0.5

TOO_LONG = "its longest time is almost over"
USED_UP = "today's minutes are almost used up"


@dataclass(frozen=True)
class Caps:
    """What limits conversations."""

    conversation_s: float | None = None
    """Longest conversation; only announced here: the machine ends it."""
    allowance: Allowance | None = None
    """Minutes a day."""
    today: Callable[[], str] = lambda: ""
    """Returns the day, for the allowance."""
    spent: Callable[[], None] = lambda: None
    """Called when the allowance has changed."""


UNLIMITED = Caps()


class Budget:
    """What one conversation may spend.

    Args:
        caps: what limits it.
    """

    def __init__(self, caps: Caps) -> None:
        self._caps = caps
        self._begun_at: float | None = None
        self._cap_at = 0.0
        """When the first cap bites."""
        self._last_moment = 0.0
        self.warn_at: float | None = None
        """When the end is to be announced; None: not, or it was."""
        self.end_at: float | None = None
        """When to ask whether the day's minutes are used up."""

    @property
    def is_used_up(self) -> bool:
        """Whether there is nothing left for a conversation to begin with."""
        caps = self._caps
        return caps.allowance is not None and caps.allowance.left_s(caps.today()) <= 0

    def begin(self, now: float) -> None:
        """The conversation has begun, at a time in seconds."""
        self._begun_at = now
        self._plan(now, now)

    def _plan(self, begun_at: float, now: float) -> None:
        caps = self._caps
        ends = [] if caps.conversation_s is None else [begun_at + caps.conversation_s]
        if caps.allowance is not None:
            self.end_at = begun_at + caps.allowance.left_s(caps.today())
            self._last_moment = self.end_at + GRACE_S
            ends.append(self.end_at)
        if ends and (left_s := min(ends) - now) > LEAST_S:
            self._cap_at = min(ends)
            self.warn_at = self._cap_at - min(WARNING_S, left_s / 2)

    def warn(self, now: float) -> tuple[str, str]:
        """The end is announced now. Returns how long is left, and why, in words."""
        self.warn_at = None
        return _in_words(self._cap_at - now), USED_UP if self._cap_at == self.end_at else TOO_LONG

    def ends(self, now: float, *, between_turns: bool) -> bool:
        """Return whether the conversation ends because the day's minutes are used up.

        Args:
            now: the time, in seconds.
            between_turns: nobody speaks. Otherwise it goes on for a while.
        """
        if self._begun_at is None or self.end_at is None or now < self.end_at:
            return False
        self._plan(self._begun_at, now)  # a new day may have begun
        if now < self.end_at:
            return False
        self.end_at = min(now + _AGAIN_S, self._last_moment)
        return between_turns or now >= self._last_moment

    def close(self, now: float) -> None:
        """The conversation is over: count what it has used. What follows the first time counts nothing."""
        begun_at, self._begun_at = self._begun_at, None
        if self._caps.allowance is not None and begun_at is not None:
            self._caps.allowance.spend(self._caps.today(), now - begun_at)
            self._caps.spent()


def _in_words(left_s: float) -> str:
    return "about a minute" if left_s > 0.75 * WARNING_S else f"about {max(5, 5 * round(left_s / 5))} seconds"
