from __future__ import annotations

from typing import Any

import pytest

from pipit.core.lights import OFF, Light
from pipit.core.machine import State
from pipit.errors import HardwareError
from pipit.leds.gpio import Settings, build


def levels(pins: Any, *numbers: int) -> list[float]:
    return [float(pins.pin(number).state) for number in numbers]


def test_three_pins_for_three_meanings(pins: Any) -> None:
    board = build(Settings())
    assert levels(pins, 17, 27, 22) == [0, 0, 0]
    board.show(Light(listening=1), State.LISTENING)
    assert levels(pins, 17, 27, 22) == [1, 0, 0]
    board.show(Light(thinking=1), State.THINKING)
    assert levels(pins, 17, 27, 22) == [0, 1, 0]
    board.show(Light(speaking=1), State.SPEAKING)
    assert levels(pins, 17, 27, 22) == [0, 0, 1]
    board.show(OFF, State.IDLE)
    assert levels(pins, 17, 27, 22) == [0, 0, 0]


def test_half_brightness_is_what_the_eye_takes_for_half(pins: Any) -> None:
    board = build(Settings())
    board.show(Light(thinking=0.5), State.THINKING)
    assert levels(pins, 27) == [pytest.approx(0.218, abs=0.001)]


def test_brightness_dims_everything(pins: Any) -> None:
    board = build(Settings(brightness=0.25))
    board.show(Light(listening=1), State.LISTENING)
    assert levels(pins, 17) == [0.25]


def test_a_steady_light_is_not_modulated(pins: Any) -> None:
    board = build(Settings())
    assert pins.pin(17).frequency is None
    board.show(Light(listening=0.5), State.HEARING)
    assert pins.pin(17).frequency == 100
    assert pins.pin(27).frequency is None
    board.show(Light(listening=1), State.LISTENING)
    assert pins.pin(17).frequency is None
    assert levels(pins, 17) == [1]
    board.show(OFF, State.IDLE)
    assert pins.pin(17).frequency is None
    assert levels(pins, 17) == [0]


def test_leds_wired_to_the_supply_shine_when_low(pins: Any) -> None:
    board = build(Settings(active_high=False))
    assert levels(pins, 17) == [1]
    board.show(Light(listening=1), State.LISTENING)
    assert levels(pins, 17) == [0]
    board.show(Light(listening=0.5), State.HEARING)
    assert levels(pins, 17) == [pytest.approx(1 - 0.218, abs=0.001)]
    board.show(OFF, State.IDLE)
    assert levels(pins, 17) == [1]


def test_leds_that_only_switch_are_on_from_half(pins: Any) -> None:
    from gpiozero.pins.mock import MockPin

    pins.pin_class = MockPin  # a pin that cannot be modulated
    board = build(Settings(pwm=False))
    board.show(Light(0.5, 0.49, 1), State.MUTED)
    assert levels(pins, 17, 27, 22) == [1, 0, 1]


def test_one_pin_for_everything_shows_the_brightest(pins: Any) -> None:
    board = build(Settings(listening=5, thinking=5, speaking=5))
    for light in (Light(listening=1), Light(thinking=1), Light(speaking=1), Light(1, 0.1, 0)):
        board.show(OFF, State.IDLE)
        board.show(light, State.LISTENING)
        assert levels(pins, 5) == [1]


def test_a_meaning_without_a_pin_is_not_shown(pins: Any) -> None:
    board = build(Settings(listening=None, thinking=None))
    board.show(Light(1, 1, 1), State.FAULT)
    assert levels(pins, 17, 27, 22) == [0, 0, 1]


def test_only_what_differs_is_written(pins: Any) -> None:
    from gpiozero.pins.mock import MockPWMPin

    written: list[str] = []

    class Counted(MockPWMPin):  # type: ignore[misc]
        def _set_state(self, value: float) -> None:
            written.append(self.info.name)
            super()._set_state(value)

    pins.pin_class = Counted
    board = build(Settings())
    board.show(Light(listening=0.5), State.HEARING)
    written.clear()
    board.show(Light(listening=0.5, thinking=1), State.HEARING)
    assert written == ["GPIO27"]


def test_a_pin_that_failed_is_written_again(pins: Any) -> None:
    from gpiozero.pins.mock import MockPWMPin

    class Broken(MockPWMPin):  # type: ignore[misc]
        broken = False

        def _set_state(self, value: float) -> None:
            if self.broken:
                self._change_state(0.0)
                raise OSError("broken")
            super()._set_state(value)

    pins.pin_class = Broken
    board = build(Settings())
    board.show(Light(listening=1), State.LISTENING)
    Broken.broken = True
    with pytest.raises(OSError, match="broken"):
        board.show(Light(listening=0.5), State.HEARING)
    Broken.broken = False
    board.show(Light(listening=1), State.LISTENING)
    assert levels(pins, 17) == [1]


def test_closing_switches_off_and_frees_the_pins(pins: Any) -> None:
    board = build(Settings())
    board.show(Light(1, 1, 1), State.FAULT)
    board.close()
    board.close()
    assert levels(pins, 17, 27, 22) == [0, 0, 0]
    assert pins.pin(17).function == "input"
    build(Settings()).close()


def test_a_pin_in_use_is_named_and_the_others_are_let_go(pins: Any) -> None:
    from gpiozero import LED

    taken = LED(22)
    with pytest.raises(HardwareError, match=r"leds\.speaking: GPIO22 already serves another option") as refused:
        build(Settings())
    taken.close()
    build(Settings()).close()
    assert refused.tb is not None  # and with it all that the failed attempt had made, until here


def test_a_pin_that_the_board_does_not_have_is_named(pins: Any) -> None:
    with pytest.raises(HardwareError, match=r"leds\.thinking: this board has no GPIO99; .*BCM"):
        build(Settings(thinking=99))


def test_a_pin_that_cannot_be_dimmed_is_refused_before_it_is_needed(pins: Any) -> None:
    from gpiozero.pins.mock import MockPin

    pins.pin_class = MockPin
    with pytest.raises(HardwareError, match=r"leds\.listening: GPIO17 cannot be used"):
        build(Settings())
