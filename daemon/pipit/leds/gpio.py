"""Three LEDs on three pins, or fewer: one that is not there is null, and meanings that share a pin show the brightest of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipit.core.lights import Light
from pipit.core.machine import State
from pipit.core.options import option
from pipit.errors import HardwareError
from pipit.leds import Board
from pipit.pins import Led


@dataclass(frozen=True)
class Settings:
    """Which pins, and how the LEDs are wired. Pins are BCM numbers."""

    listening: int | None = option(17, "Pin of the LED that says: Pipit hears you. null: none.", minimum=0, maximum=27)
    thinking: int | None = option(27, "Pin of the LED that says: Pipit waits for the answer. null: none.", minimum=0, maximum=27)
    speaking: int | None = option(
        22,
        "Pin of the LED that says: Pipit talks. null: none. With a single LED give its pin three times.",
        minimum=0,
        maximum=27,
    )
    active_high: bool = option(True, "Whether an LED shines when its pin is high (it is wired to ground) or low (wired to 3.3 V).")
    pwm: bool = option(True, "Whether the LEDs are dimmed. Off, they only switch, and every state keeps its rhythm.")
    brightness: float = option(1.0, "Brightness of a fully lit LED; needs pwm.", minimum=0.01, maximum=1.0)

    def pins(self) -> Mapping[str, int]:
        """See `pipit.pins.Wired`; a pin that meanings share is claimed by the first of them."""
        return {meanings[0]: pin for pin, meanings in self.meanings().items()}

    def meanings(self) -> Mapping[int, list[str]]:
        """Return what each pin says."""
        meanings: dict[int, list[str]] = {}
        for meaning in Light._fields:
            pin: int | None = getattr(self, meaning)
            if pin is not None:
                meanings.setdefault(pin, []).append(meaning)
        return meanings


class Pins:
    """LEDs on pins.

    Raises:
        HardwareError: a pin cannot be used; those already claimed are let go.
    """

    def __init__(self, settings: Settings) -> None:
        self._leds: dict[int, Led] = {}
        self._meanings = settings.meanings()
        try:
            for pin, meanings in self._meanings.items():
                self._leds[pin] = Led(
                    pin,
                    f"leds.{meanings[0]}",
                    active_high=settings.active_high,
                    pwm=settings.pwm,
                    brightness=settings.brightness,
                )
        except HardwareError:
            self.close()
            raise

    def show(self, light: Light, state: State) -> None:
        """See `Board.show`."""
        for pin, led in self._leds.items():
            led.set(max(getattr(light, meaning) for meaning in self._meanings[pin]))

    def close(self) -> None:
        """See `Board.close`."""
        for led in self._leds.values():
            led.close()


def build(settings: Settings) -> Board:
    """Claim the pins.

    Raises:
        HardwareError: one of them cannot be used.
    """
    return Pins(settings)
