"""No lights."""

from __future__ import annotations

from dataclasses import dataclass

from pipit.core.lights import Light
from pipit.core.machine import State
from pipit.leds import Board


@dataclass(frozen=True)
class Settings:
    """Nothing to set."""


class Dark:
    """A board without lights."""

    def show(self, light: Light, state: State) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def build(settings: Settings) -> Board:
    """Make a board without lights."""
    return Dark()
