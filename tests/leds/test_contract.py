"""Every LED driver that can be built here, held to the contract of its folder."""

from __future__ import annotations

from typing import Any

import pytest

from pipit import plugins
from pipit.core.lights import FRAME_S, light
from pipit.core.machine import State

BOARDS = {plugin.name: plugin for plugin in plugins.every("leds")}


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_shows_a_whole_day_and_closes_twice(name: str, pins: Any) -> None:
    board = BOARDS[name].build(BOARDS[name].settings())
    for state in State:
        for frame in range(80):
            board.show(light(state, frame * FRAME_S, frame / 80), state)
    board.close()
    board.close()


def test_these_are_the_boards() -> None:
    assert {"gpio", "rgb", "terminal", "off"} <= set(BOARDS)
