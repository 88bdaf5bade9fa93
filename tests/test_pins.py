from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipit.errors import HardwareError
from pipit.pins import Led


class Busy(Exception):
    """What lgpio raises derives from nothing but Exception."""


def test_a_pin_that_somebody_else_holds_is_named_with_where_to_look(pins: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    library = type(sys)("lgpio")
    library.error = Busy  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lgpio", library)

    def claimed(*_: Any, **__: Any) -> None:
        raise Busy("'GPIO busy'")

    monkeypatch.setattr(pins, "pin", claimed)
    with pytest.raises(HardwareError, match=r"leds\.listening: GPIO17 cannot be used: another program .*`gpioinfo`"):
        Led(17, "leds.listening")


def test_a_machine_without_gpio_is_told_what_to_do(tmp_path: Path) -> None:
    """In a process of its own, because whichever library gpiozero finds stays for the whole process."""
    program = "from pipit.pins import Led\nfrom pipit.errors import HardwareError\ntry: Led(17, 'leds.listening')\n"
    program += "except HardwareError as error: print(error)\nelse: print('there is GPIO')"
    run = subprocess.run([sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    said = run.stdout.strip()
    if said == "there is GPIO":
        pytest.skip("this machine has GPIO")
    assert run.returncode == 0, run.stderr
    assert "leds.driver to terminal or off, and button.driver to keyboard or off" in said
