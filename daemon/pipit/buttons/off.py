"""No button."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pipit.buttons import Button, Gesture
from pipit.core.events import Edge


@dataclass(frozen=True)
class Settings(Gesture):
    """As for every button; nothing reads them here."""


class Absent:
    """A button that is never pressed."""

    def start(self, post: Callable[[Edge], None]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def build(settings: Settings) -> Button:
    """Make a button that is never pressed."""
    return Absent()
