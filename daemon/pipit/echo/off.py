"""No echo cancelling: Pipit and the person take turns, and the button or the wake word interrupts."""

from __future__ import annotations

from dataclasses import dataclass

from pipit.echo import Canceller, Through


@dataclass(frozen=True)
class Settings:
    """Nothing to set."""


def build(settings: Settings) -> Canceller:
    """Return the canceller that cancels nothing."""
    return Through(full_duplex=False)
