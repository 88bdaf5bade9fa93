from __future__ import annotations

from typing import Any

import pytest

from pipit.core.lights import OFF, Light
from pipit.core.machine import State
from pipit.errors import ConfigError, HardwareError
from pipit.leds.rgb import Colour, Rgb, Settings, build


def parts(pins: Any) -> list[float]:
    return [float(pins.pin(number).state) for number in (17, 27, 22)]


PLAIN = Settings(listening="#0000ff", thinking="#ff0000", speaking="#00ff00", muted="#ffffff", fault="#ff00ff")


def test_each_meaning_has_its_colour(pins: Any) -> None:
    board = build(PLAIN)
    board.show(Light(listening=1), State.LISTENING)
    assert parts(pins) == [0, 0, 1]
    board.show(Light(thinking=1), State.THINKING)
    assert parts(pins) == [1, 0, 0]
    board.show(Light(speaking=1), State.SPEAKING)
    assert parts(pins) == [0, 1, 0]
    board.show(OFF, State.IDLE)
    assert parts(pins) == [0, 0, 0]


def test_meanings_that_shine_together_are_mixed_and_capped(pins: Any) -> None:
    board = Rgb(Settings(listening="#0000ff", thinking="#ff0000", speaking="#ff8000"))
    assert board.mix(Light(1, 1, 0), State.LISTENING) == Colour(1, 0, 1)
    assert board.mix(Light(0.5, 0, 0), State.HEARING) == Colour(0, 0, 0.5)
    assert board.mix(Light(0, 1, 1), State.SPEAKING) == Colour(1, pytest.approx(0x80 / 255), 0)


def test_muted_and_fault_have_colours_of_their_own_and_keep_the_rhythm(pins: Any) -> None:
    board = Rgb(PLAIN)
    assert board.mix(Light(0.5, 0.5, 0.5), State.MUTED) == Colour(0.5, 0.5, 0.5)
    assert board.mix(Light(1, 1, 1), State.FAULT) == Colour(1, 0, 1)
    assert board.mix(OFF, State.FAULT) == Colour(0, 0, 0)


def test_a_common_anode_shines_when_low(pins: Any) -> None:
    board = build(Settings(common="anode", thinking="#ff0000"))
    assert parts(pins) == [1, 1, 1]
    board.show(Light(thinking=1), State.THINKING)
    assert parts(pins) == [0, 1, 1]
    board.close()
    board.close()
    assert pins.pin(17).function == "input"


def test_brightness_dims_every_part(pins: Any) -> None:
    board = build(Settings(thinking="#ffff00", brightness=0.5))
    board.show(Light(thinking=1), State.THINKING)
    assert parts(pins) == [0.5, 0.5, 0]


@pytest.mark.parametrize("text", ["blue", "#fff", "0060ff", "#0060fg", "#0060ff "])
def test_what_is_not_a_colour_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Settings(speaking=text, fault=text)
    remedy = 'write red, green and blue in hexadecimal, with quotes: "#ff9000"'
    assert refused.value.problems == tuple(f'{name}: "{text}" is not a colour; {remedy}' for name in ("speaking", "fault"))


def test_a_pin_given_twice_is_refused_and_the_first_let_go(pins: Any) -> None:
    with pytest.raises(HardwareError, match=r"leds\.green: GPIO17 already serves another option") as refused:
        build(Settings(green=17))
    build(Settings()).close()
    assert refused.tb is not None  # and with it all that the failed attempt had made, until here
