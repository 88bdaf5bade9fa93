from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def pins() -> Iterator[Any]:
    """A Raspberry Pi 3's pins as gpiozero ships them for tests: its real devices, on pins that are variables."""
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    factory = Device.pin_factory = MockFactory(revision="a02082", pin_class=MockPWMPin)
    yield factory
    factory.close()
    Device.pin_factory = None
