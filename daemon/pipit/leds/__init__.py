"""Lights: the contract of a board."""

from __future__ import annotations

from typing import Protocol

from pipit.core.lights import Light


class Board(Protocol):
    """Shows a light. Used by the main thread only; MUST NOT block (a few hundred microseconds at most)."""

    def show(self, light: Light) -> None:
        """Show this light now; called only when it differs from the one before."""

    def close(self) -> None:
        """Switch everything off and let go of the pins. May be called twice."""
