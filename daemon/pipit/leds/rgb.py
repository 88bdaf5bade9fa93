"""One RGB LED on three pins: a colour for each meaning, mixed where meanings shine together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pipit.core.lights import Light
from pipit.core.machine import State
from pipit.core.options import option
from pipit.errors import ConfigError, HardwareError
from pipit.leds import Board
from pipit.pins import Led

_COLOUR = "#[0-9a-fA-F]{6}"
_OWN = (State.MUTED, State.FAULT)
_COLOURED = (*Light._fields, *(state.value for state in _OWN))
"""The options that are colours."""


@dataclass(frozen=True)
class Settings:
    """Which pins, how the LED is wired, and its colours. Pins are BCM numbers; colours are "#rrggbb" as on the web."""

    red: int = option(17, "Pin of the red part.", minimum=0, maximum=27)
    green: int = option(27, "Pin of the green part.", minimum=0, maximum=27)
    blue: int = option(22, "Pin of the blue part.", minimum=0, maximum=27)
    common: str = option(
        "cathode",
        "Where the common leg goes: cathode is ground, anode is 3.3 V.",
        choices=("cathode", "anode"),
    )
    brightness: float = option(1.0, "Brightness of the fully lit LED.", minimum=0.01, maximum=1.0)
    listening: str = option("#0060ff", "Colour for: Pipit hears you.")
    thinking: str = option("#ff9000", "Colour for: Pipit waits for the answer.")
    speaking: str = option("#00ff40", "Colour for: Pipit talks.")
    muted: str = option("#ff0000", "Colour for: the microphone is off.")
    fault: str = option("#ff0000", "Colour for: the service failed. Muted and fault differ in rhythm.")

    def __post_init__(self) -> None:
        wrong = [(name, text) for name in _COLOURED if not re.fullmatch(_COLOUR, text := getattr(self, name))]
        if wrong:
            remedy = 'write red, green and blue in hexadecimal, with quotes: "#ff9000"'
            raise ConfigError(*(f'{name}: "{text}" is not a colour; {remedy}' for name, text in wrong))

    def pins(self) -> Mapping[str, int]:
        """See `pipit.pins.Wired`."""
        return {part: getattr(self, part) for part in Colour._fields}


class Colour(NamedTuple):
    """Brightness of each part, 0 to 1."""

    red: float
    green: float
    blue: float


class Rgb:
    """An RGB LED.

    Raises:
        HardwareError: a pin cannot be used; those already claimed are let go.
    """

    def __init__(self, settings: Settings) -> None:
        self._meanings = tuple(_colour(settings, name) for name in Light._fields)
        self._own = {state: _colour(settings, state.value) for state in _OWN}
        self._leds: list[Led] = []
        try:
            for part in Colour._fields:
                pin: int = getattr(settings, part)
                led = Led(pin, f"leds.{part}", active_high=settings.common == "cathode", brightness=settings.brightness)
                self._leds.append(led)
        except HardwareError:
            self.close()
            raise

    def show(self, light: Light, state: State) -> None:
        """See `Board.show`."""
        for led, brightness in zip(self._leds, self.mix(light, state), strict=True):
            led.set(brightness)

    def mix(self, light: Light, state: State) -> Colour:
        """Return the colour of a light: its own where the state has one, else the sum of its meanings' colours."""
        own = self._own.get(state)
        if own is not None:
            return Colour(*(part * max(light) for part in own))
        parts = zip(*self._meanings, strict=True)
        return Colour(*(min(1.0, sum(p * b for p, b in zip(part, light, strict=True))) for part in parts))

    def close(self) -> None:
        """See `Board.close`."""
        for led in self._leds:
            led.close()


def build(settings: Settings) -> Board:
    """Claim the pins.

    Raises:
        HardwareError: a pin cannot be used.
    """
    return Rgb(settings)


def _colour(settings: Settings, name: str) -> Colour:
    text: str = getattr(settings, name)
    return Colour(*(int(text[at : at + 2], 16) / 255 for at in (1, 3, 5)))
