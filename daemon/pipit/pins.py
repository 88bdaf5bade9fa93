"""The GPIO pins, by gpiozero on lgpio: the one door for the drivers of lights and buttons, and one wording of what can go wrong.

Why lgpio and nothing else: it speaks to the kernel's GPIO character device, so it works on every Raspberry Pi including the 5 and
for a user who is no more than a member of the group gpio. gpiozero by itself would go on to RPi.GPIO, to a pigpio daemon on a TCP
port, and to writing registers; each of them would fail later and less clearly.

What lgpio costs (its source, version 0.2.2: lgPthTx.c, lgPthAlerts.c): from the moment the chip is opened a thread wakes 50 times a
second, and twice a period for each pin that is being dimmed (that thread makes the pulse width modulation; 100 Hz here). Once a pin
is watched for edges, a second thread looks at it every 0.5 ms. All of it is C and takes no interpreter lock. Counted on the
kernel's GPIO simulator: 50 wake-ups a second with steady LEDs, about 200 with three dimmed ones, 50 again when they are steady.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

from pipit.errors import HardwareError

_PWM_HZ = 100
"""Above what the eye sees flicker, and few enough edges for a thread."""

_GAMMA = 2.2
"""Brightness that looks half needs a duty of 0.22: the usual exponent of displays, close enough for an LED."""

_NO_GPIO = "; without GPIO set leds.driver to terminal or off, and button.driver to keyboard or off"


@runtime_checkable
class Wired(Protocol):
    """The settings of a driver that claims pins."""

    def pins(self) -> Mapping[str, int]:
        """Return the pins that are claimed (BCM numbers), by the option that chose them: "listening"."""
        ...


def conflicts(sections: Iterable[tuple[str, object]]) -> list[str]:
    """Say which pins are wanted twice, without touching any.

    Args:
        sections: name of each section of the configuration, and its settings; those that are not `Wired` claim nothing.
    """
    taken: dict[int, str] = {}
    problems = []
    for section, settings in sections:
        for option, pin in settings.pins().items() if isinstance(settings, Wired) else ():
            first = taken.setdefault(pin, f"{section}.{option}")
            if first != f"{section}.{option}":
                problems.append(f"{section}.{option}: GPIO{pin} already serves {first}; give each a pin of its own")
    return problems


def claim(make: Callable[..., Any], pin: int, option: str, **arguments: Any) -> Any:
    """Make a gpiozero device on a pin.

    Args:
        make: the device's class.
        pin: BCM number.
        option: which option chose the pin, for messages: "leds.listening".
        **arguments: for the device.

    Raises:
        HardwareError: no GPIO here, no such pin, or somebody else holds it.
    """
    from gpiozero import GPIOPinInUse, GPIOZeroError, PinInvalidPin

    factory = _factory()
    try:
        return make(pin, pin_factory=factory, **arguments)
    except GPIOPinInUse as error:
        raise HardwareError(f"{option}: GPIO{pin} already serves another option; give each a pin of its own") from error
    except PinInvalidPin as error:
        raise HardwareError(
            f"{option}: this board has no GPIO{pin}; numbers are those of the chip (BCM), not of the header"
        ) from error
    except (GPIOZeroError, _lgpio_error()) as error:
        busy = "busy" in str(error)
        why = "another program or a kernel driver holds it; `gpioinfo` says which" if busy else error
        raise HardwareError(f"{option}: GPIO{pin} cannot be used: {why}") from error


class Led:
    """An LED on a pin.

    Args:
        pin: BCM number.
        option: which option chose the pin, for messages.
        active_high: whether it shines when the pin is high.
        pwm: whether it can be dimmed; else it is on from half brightness.
        brightness: of the LED when fully lit, over 0 to 1.

    Raises:
        HardwareError: see `claim`.
    """

    def __init__(self, pin: int, option: str, *, active_high: bool = True, pwm: bool = True, brightness: float = 1.0) -> None:
        from gpiozero import LED, PWMLED

        self._device = claim(PWMLED if pwm else LED, pin, option, active_high=active_high)
        self._pwm = pwm
        self._brightness = brightness
        self._duty: float | None = None  # what the pin is known to do
        self.set(0.0)

    def set(self, brightness: float) -> None:
        """Shine, 0 to 1 as the eye sees it; writes to the pin only what differs."""
        duty = self._brightness * brightness**_GAMMA if self._pwm else float(brightness >= 0.5)
        if duty == self._duty:
            return
        self._duty = None
        if self._pwm:
            self._dim(duty)
        else:
            self._device.value = duty
        self._duty = duty

    def close(self) -> None:
        """Let go of the pin, which makes it an input and the LED dark. May be called twice."""
        self._device.close()

    def _dim(self, duty: float) -> None:
        """Modulate the pin only while the LED is neither dark nor full: a steady light needs no thread to keep it."""
        frequency = _PWM_HZ if 0.0 < duty < 1.0 else None
        if self._device.frequency != frequency:
            self._device.frequency = frequency
        self._device.value = duty


def _factory() -> Any:
    """Return gpiozero's factory; the first caller opens the chip."""
    from gpiozero import Device, GPIOZeroError

    if Device.pin_factory is None:
        try:
            from gpiozero.pins.lgpio import LGPIOFactory

            Device.pin_factory = LGPIOFactory()
        except ImportError as error:
            raise HardwareError(f"GPIO needs the Python package lgpio (Debian: python3-lgpio): {error}{_NO_GPIO}") from error
        except OSError as error:  # lgpio makes a named pipe in the working directory as it is imported
            raise HardwareError(f"lgpio cannot write to the working directory, which it needs: {error}") from error
        except (GPIOZeroError, _lgpio_error()) as error:
            raise HardwareError(
                f"no GPIO on this machine, or no right to it (group gpio, /dev/gpiochip*): {error}{_NO_GPIO}"
            ) from error
    return Device.pin_factory


def _lgpio_error() -> type[Exception]:
    """Return what lgpio raises, which derives from nothing but Exception; what was not imported raises nothing."""
    error: type[Exception] = getattr(sys.modules.get("lgpio"), "error", HardwareError)
    return error
