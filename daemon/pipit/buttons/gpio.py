"""A button on a pin."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipit.buttons import Button, Gesture
from pipit.core.events import Edge
from pipit.core.options import option
from pipit.pins import claim


@dataclass(frozen=True)
class Settings(Gesture):
    """Which pin, and how the button is wired."""

    pin: int = option(23, "Pin of the button (BCM number).", minimum=0, maximum=27)
    pull_up: bool = option(True, "Whether the button connects the pin to ground (true) or to 3.3 V (false).")

    def pins(self) -> Mapping[str, int]:
        """See `pipit.pins.Wired`."""
        return {"pin": self.pin}


class Pin:
    """A button on a pin, with the chip's own pull resistor."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._device: Any = None

    def start(self, post: Callable[[Edge], None]) -> None:
        """See `Button.start`."""
        # gpiozero.Button is this device plus a thread that wakes ten times a second to time holds; core.gestures times them.
        # No bounce_time either: with lgpio it delays every press by its length, so core.gestures deals with bouncing, too
        # (lgpio 0.2.2 on the kernel's GPIO simulator: 2 to 6 ms from the contact to here, 22 to 25 ms with a bounce_time of 20 ms).
        from gpiozero import DigitalInputDevice

        device = claim(DigitalInputDevice, self._settings.pin, "button.pin", pull_up=self._settings.pull_up)
        device.when_activated = lambda: post(Edge(True, time.monotonic()))
        device.when_deactivated = lambda: post(Edge(False, time.monotonic()))
        self._device = device

    def close(self) -> None:
        """See `Button.close`."""
        if self._device is not None:
            self._device.close()


def build(settings: Settings) -> Button:
    """Make a button; `start` claims the pin."""
    return Pin(settings)
