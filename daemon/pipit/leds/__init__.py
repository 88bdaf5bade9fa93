"""Lights: the contract of a board."""

from __future__ import annotations

from typing import Protocol

from pipit.core.lights import Light
from pipit.core.machine import State


class Board(Protocol):
    """Shows a light. Used by the main thread only; MUST NOT block (a few hundred microseconds at most)."""

    def show(self, light: Light, state: State) -> None:
        """Show this light now; called only when one of the two differs from the time before.

        Args:
            light: how bright each meaning is at this moment.
            state: why, for boards that have more to say than three brightnesses: a colour of its own, a word. MUST NOT be needed
                to tell states apart: the light alone does that.

        Whatever it raises is recorded, and the board is left alone for a while: a light never takes the speaker down.
        """

    def close(self) -> None:
        """Switch everything off and let go of the pins. May be called twice."""
