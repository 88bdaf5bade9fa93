from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from pipit.buttons.gpio import Settings, build
from pipit.core.events import Edge, Held, Pressed
from pipit.core.gestures import Gestures
from pipit.errors import HardwareError


def test_a_button_to_ground_reports_edges_with_their_times(pins: Any) -> None:
    edges: list[Edge] = []
    button = build(Settings())
    button.start(edges.append)
    assert pins.pin(23).pull == "up"
    before = time.monotonic()
    pins.pin(23).drive_low()
    pins.pin(23).drive_high()
    after = time.monotonic()
    button.close()
    assert [edge.pressed for edge in edges] == [True, False]
    assert before <= edges[0].at <= edges[1].at <= after


def test_a_button_to_the_supply(pins: Any) -> None:
    edges: list[Edge] = []
    button = build(Settings(pin=5, pull_up=False))
    button.start(edges.append)
    assert pins.pin(5).pull == "down"
    pins.pin(5).drive_high()
    pins.pin(5).drive_low()
    button.close()
    assert [edge.pressed for edge in edges] == [True, False]


def test_bounces_are_reported_for_gestures_to_sort_out(pins: Any) -> None:
    gestures, heard = Gestures(), list[Pressed | Held]()
    button = build(Settings())
    button.start(lambda edge: heard.extend(gestures.feed(edge, at_once=True)))
    for _ in range(3):
        pins.pin(23).drive_low()
        pins.pin(23).drive_high()
    pins.pin(23).drive_low()
    button.close()
    assert heard == [Pressed()]


def test_a_button_costs_no_thread_of_python(pins: Any) -> None:
    before = threading.active_count()
    button = build(Settings())
    button.start(lambda edge: None)
    assert threading.active_count() == before
    button.close()


def test_a_button_held_down_at_the_start_is_no_press(pins: Any) -> None:
    edges: list[Edge] = []
    pins.pin(23).pull = "up"
    button = build(Settings(pull_up=False))  # as seen by the driver: already down
    pins.pin(23).drive_high()
    button.start(edges.append)
    assert [edge.pressed for edge in edges] == []
    button.close()


def test_nothing_is_reported_after_closing(pins: Any) -> None:
    edges: list[Edge] = []
    button = build(Settings())
    button.close()
    button.start(edges.append)
    button.close()
    button.close()
    pins.pin(23).drive_low()
    assert edges == []
    again = build(Settings())
    again.start(edges.append)  # the pin is free
    again.close()


def test_a_pin_in_use_is_named(pins: Any) -> None:
    from gpiozero import LED

    led = LED(23)
    with pytest.raises(HardwareError, match=r"button\.pin: GPIO23"):
        build(Settings()).start(lambda edge: None)
    led.close()
