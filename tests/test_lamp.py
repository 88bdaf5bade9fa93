from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable
from typing import Any

import pytest

from pipit.core.lights import FRAME_S, Light
from pipit.core.machine import State
from pipit.lamp import Lamp
from pipit.leds import Board
from pipit.leds import gpio as leds_gpio
from pipit.leds.off import Dark
from pipit.leds.terminal import Terminal
from pipit.system.journal import Records


class Stream(io.StringIO):
    """A terminal that can be unplugged, and counts how often it is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.plugged = True
        self.tries = 0

    def flush(self) -> None:
        self.tries += 1
        if not self.plugged:
            raise OSError("unplugged")


def lamp_on(board: Board, clock: Callable[[], float] = lambda: 0.0, level: Callable[[], float] = lambda: 0.0) -> Lamp:
    return Lamp(board, level, clock, Records())


def shown(pins: Any) -> Light:
    """Read the three pins back."""
    return Light(*(float(pins.pin(number).state) for number in (17, 27, 22)))


def test_a_new_state_shows_at_once(pins: Any) -> None:
    lamp = lamp_on(leds_gpio.build(leds_gpio.Settings()))
    lamp.enter(State.LISTENING, 5.0)
    assert shown(pins) == Light(listening=1)
    lamp.enter(State.THINKING, 6.0)
    assert shown(pins) == Light(thinking=1)
    lamp.enter(State.IDLE, 7.0)
    assert shown(pins) == Light()


def test_it_says_how_long_it_may_sleep(pins: Any) -> None:
    lamp = lamp_on(leds_gpio.build(leds_gpio.Settings()))
    lamp.enter(State.CONNECTING, 5.0)
    assert lamp.refresh(5.0) == pytest.approx(3 * FRAME_S)
    assert shown(pins).listening == 1
    assert lamp.refresh(5.0 + 3 * FRAME_S) == pytest.approx(3 * FRAME_S)
    assert shown(pins).listening == 0
    lamp.enter(State.IDLE, 7.0)
    assert lamp.refresh(7.0) is None
    assert lamp.refresh(70_000.0) is None


def test_the_light_follows_the_voice(pins: Any) -> None:
    level = 0.0
    lamp = lamp_on(leds_gpio.build(leds_gpio.Settings()), level=lambda: level)
    lamp.enter(State.SPEAKING, 0.0)
    quiet = shown(pins).speaking
    level = 1.0
    assert lamp.refresh(FRAME_S) == pytest.approx(FRAME_S)
    assert shown(pins).speaking == 1.0 > quiet


class Counted(Dark):
    """A board that counts what it hears."""

    shows = 0

    def show(self, light: Light, state: State) -> None:
        self.shows += 1


def test_the_board_hears_only_of_what_differs() -> None:
    board = Counted()
    lamp = lamp_on(board)
    lamp.enter(State.LISTENING, 0.0)
    for frame in range(100):
        lamp.refresh(frame * FRAME_S)
    assert board.shows == 1
    lamp.enter(State.IDLE, 4.0)
    lamp.enter(State.STOPPED, 5.0)  # as dark as before, but another state
    assert board.shows == 3


def test_a_board_that_fails_is_recorded_once_left_alone_and_tried_again() -> None:
    stream, records = Stream(), Records()
    lamp = Lamp(Terminal(stream), lambda: 0.0, lambda: 0.0, records)
    stream.plugged = False
    lamp.enter(State.LISTENING, 100.0)
    assert stream.tries == 1
    lamp.enter(State.THINKING, 101.0)
    assert lamp.refresh(104.0) == pytest.approx(6.0)
    assert stream.tries == 1
    assert lamp.refresh(110.0) == pytest.approx(10.0)
    assert stream.tries == 2
    (lost,) = records.of("lights_lost")
    assert "OSError: unplugged" in lost.message
    assert lost.level == "error"
    stream.plugged = True
    assert lamp.refresh(119.9) == pytest.approx(0.1)
    assert not records.of("lights_back")
    lamp.refresh(120.0)
    assert stream.getvalue().endswith("thinking    breath\n")
    assert len(records.of("lights_back")) == 1
    lamp.enter(State.IDLE, 121.0)
    assert "idle" in stream.getvalue()
    stream.plugged = False
    lamp.enter(State.LISTENING, 122.0)
    assert len(records.of("lights_lost")) == 2


def test_a_board_that_comes_back_is_shown_even_what_it_showed_before_it_failed() -> None:
    stream = Stream()
    lamp = lamp_on(Terminal(stream))
    lamp.enter(State.LISTENING, 100.0)
    stream.plugged = False
    lamp.enter(State.THINKING, 101.0)
    stream.plugged = True
    lamp.enter(State.LISTENING, 102.0)
    lamp.refresh(111.0)
    assert stream.getvalue().splitlines()[-1].startswith("●○○ listening")
    assert lamp.refresh(112.0) is None


async def test_it_moves_by_itself_and_stops_where_nothing_moves(pins: Any) -> None:
    board = leds_gpio.build(leds_gpio.Settings())
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return time.monotonic()

    lamp = Lamp(board, lambda: 0.0, clock, Records())
    async with asyncio.timeout(10):
        running = asyncio.create_task(lamp.run())
        await _until(lambda: shown(pins).thinking == 1.0)  # STARTING: a blink ...
        await _until(lambda: shown(pins).thinking == 0.0)  # ... that ends without anybody's help
        lamp.enter(State.IDLE, time.monotonic())
        await _turns(5)
        before = looks
        lamp.enter(State.LISTENING, time.monotonic())
        assert shown(pins) == Light(listening=1)
        await _turns(5)
        assert looks == before + 1  # woken once by the new state, and asleep again without a timer
        assert not _timers()
        lamp.enter(State.THINKING, time.monotonic())
        await _until(lambda: 0.0 < shown(pins).thinking < 0.9)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    board.close()


def _timers() -> list[Any]:
    loop: Any = asyncio.get_running_loop()
    deadline = asyncio.current_task()  # the test's own time limit belongs to this task
    assert deadline is not None
    mine = [timer for timer in loop._scheduled if not timer.cancelled()]
    return mine[1:]


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110 - pins raise no event
        await asyncio.sleep(0.005)
