"""Buttons: the contract of a driver, and what all drivers let the owner set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pipit.core.events import Edge
from pipit.core.options import option


@dataclass(frozen=True)
class Gesture:
    """What counts as a hold and what as bouncing: base of each driver's settings, for `core.gestures`."""

    hold_s: float = option(1.5, "How long the button is held down to mute or unmute.", unit="s", minimum=0.3, maximum=10)
    bounce_s: float = option(0.05, "How long the button's contacts may bounce. Delays no press.", unit="s", minimum=0, maximum=0.1)


class Button(Protocol):
    """Reports edges. `post` is called from whatever thread notices them and MUST be thread-safe (call_soon_threadsafe)."""

    def start(self, post: Callable[[Edge], None]) -> None:
        """Begin to report: edges as they come, in order, bounces included, stamped by time.monotonic.

        Raises:
            HardwareError: the pin cannot be used; says where to look for who holds it.
        """

    def close(self) -> None:
        """Stop reporting and let go of the pin. May be called twice."""
