"""For speakerphones that cancel their own echo: the sound is taken as it is, and the person may talk over Pipit."""

from __future__ import annotations

from dataclasses import dataclass

from pipit.echo import Canceller, Through


@dataclass(frozen=True)
class Settings:
    """Nothing to set."""


def build(settings: Settings) -> Canceller:
    """Return the canceller that trusts the device."""
    return Through(full_duplex=True)
