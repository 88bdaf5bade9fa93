from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.room import Room

settings.register_profile("pipit", deadline=None)  # how long an example takes says more of the machine than of Pipit
settings.load_profile("pipit")


@pytest.fixture
def room(request: pytest.FixtureRequest) -> Iterator[Room]:
    """A virtual sound card at 48 kHz, or at the rate given by indirect parametrisation."""
    rate_hz: int = getattr(request, "param", 48000)
    # Not in tmp_path: the path of a socket may be 107 characters long at most.
    with tempfile.TemporaryDirectory(prefix="pipit-room-") as folder, Room(Path(folder), rate_hz) as opened:
        yield opened


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that the test may not look into; root becomes somebody else meanwhile."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    me = os.geteuid()
    os.seteuid(me or 65534)
    yield folder
    os.seteuid(me)
    folder.chmod(0o700)


@pytest.fixture
def pins() -> Iterator[Any]:
    """A Raspberry Pi 3's pins as gpiozero ships them for tests: its real devices, on pins that are variables."""
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    factory = Device.pin_factory = MockFactory(revision="a02082", pin_class=MockPWMPin)
    yield factory
    factory.close()
    Device.pin_factory = None
