from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipit import app, config
from pipit.errors import ConfigError, HardwareError
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


def shared(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "p.yaml"
    path.write_text(
        f"service: {{provider: realtime, url: 'ws://127.0.0.1:1/'}}\naudio: {{backend: file}}\nwake: {{engine: off}}\n{text}"
    )
    try:
        app.check(config.peruse(path))
    except ConfigError as error:
        return [problem.removeprefix(f"{path}:") for problem in error.problems]
    return []


def test_a_pin_for_a_light_and_the_button_is_refused_before_anything_starts(tmp_path: Path) -> None:
    remedy = "already serves leds.listening; give each a pin of its own"
    assert shared(tmp_path, "leds: {driver: gpio, listening: 17}\nbutton: {pin: 17}\n") == [f"5: button.pin: GPIO17 {remedy}"]
    assert shared(tmp_path, "leds: {listening: 23}\n") == [f"button.pin: GPIO23 {remedy}"]


def test_the_parts_of_a_colour_need_a_pin_each(tmp_path: Path) -> None:
    (problem,) = shared(tmp_path, "leds:\n  driver: rgb\n  blue: 27\n")
    assert problem == "6: leds.blue: GPIO27 already serves leds.green; give each a pin of its own"


@pytest.mark.parametrize(
    "text",
    [
        "leds: {driver: gpio, listening: 17, thinking: 17, speaking: 17}",
        "leds: {driver: off}\nbutton: {pin: 17}",
        "leds: {listening: 23}\nbutton: {driver: off}",
        "leds: {listening: 23}\nbutton: {pin: 17}",
    ],
)
def test_a_pin_may_have_several_meanings_of_one_light_and_serve_whatever_is_on(tmp_path: Path, text: str) -> None:
    assert shared(tmp_path, text) == []
