"""How many minutes a day may be spent talking to services that charge by the minute."""

from __future__ import annotations


class Allowance:
    """Counts the seconds of a day.

    Args:
        limit_s: so many a day.
        day: the day that `used_s` belongs to, in any form that differs from day to day.
        used_s: what was used of it already.
    """

    def __init__(self, limit_s: float, day: str = "", used_s: float = 0.0) -> None:
        self.limit_s = limit_s
        self.day = day
        self.used_s = used_s

    def left_s(self, day: str) -> float:
        """Return how much is left on a day, at least 0."""
        return max(0.0, self.limit_s - (self.used_s if day == self.day else 0.0))

    def spend(self, day: str, seconds: float) -> None:
        """Count what was used. What began before midnight counts for the day on which it ended."""
        self.used_s = seconds + (self.used_s if day == self.day else 0.0)
        self.day = day
