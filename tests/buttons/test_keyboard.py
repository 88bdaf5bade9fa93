from __future__ import annotations

import os
import pty
import queue
import termios
from collections.abc import Iterator

import pytest

from pipit.buttons.keyboard import Keyboard, Settings, build
from pipit.core.events import Edge, Held, Pressed
from pipit.core.gestures import Gestures
from pipit.errors import HardwareError

HOLD_S = 0.2


class Script:
    """A keyboard at the end of a pipe or of a terminal, and what its edges amount to."""

    def __init__(self, keys: int, writer: int) -> None:
        self.writer = writer
        self.edges: queue.Queue[Edge] = queue.Queue()
        self.gestures = Gestures(HOLD_S)
        self.keyboard = Keyboard(HOLD_S, keys)
        self.keyboard.start(self.edges.put)

    def type(self, text: str) -> None:
        os.write(self.writer, text.encode())

    def touches(self, count: int) -> list[Pressed | Held]:
        """Return what the next touches of the button mean; fails when they do not come."""
        meant: list[Pressed | Held] = []
        for _ in range(2 * count):
            meant += self.gestures.feed(self.edges.get(timeout=5))
        return meant


@pytest.fixture
def pipe() -> Iterator[Script]:
    reader, writer = os.pipe()
    script = Script(reader, writer)
    yield script
    script.keyboard.close()
    os.close(reader)
    os.close(writer)


@pytest.fixture
def terminal() -> Iterator[Script]:
    master, slave = pty.openpty()
    script = Script(slave, master)
    yield script
    script.keyboard.close()
    os.close(slave)
    os.close(master)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("\n", [Pressed()]),
        (" ", [Pressed()]),
        ("m", [Held()]),
        ("m\n", [Held()]),
        (" \n", [Pressed()]),
        ("\n\n", [Pressed(), Pressed()]),
        ("m\n\n", [Held(), Pressed()]),
        ("what?\n\n", [Pressed()]),
    ],
    ids=repr,
)
def test_a_pipe_is_a_button(pipe: Script, text: str, meaning: list[Pressed | Held]) -> None:
    pipe.type(text)
    assert pipe.touches(len(meaning)) == meaning
    pipe.type("m")  # whatever else the text would have caused would come before this
    assert pipe.touches(1) == [Held()]


def test_a_key_in_a_terminal_is_a_button_without_a_line(terminal: Script) -> None:
    terminal.type(" m\n")
    assert terminal.touches(3) == [Pressed(), Held(), Pressed()]


def test_the_terminal_is_put_back() -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    script = Script(slave, master)
    during = termios.tcgetattr(slave)
    assert not during[3] & (termios.ICANON | termios.ECHO)
    assert during[3] & termios.ISIG  # Ctrl-C still ends the program
    script.keyboard.close()
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)


def test_closing_cuts_a_hold_short(pipe: Script) -> None:
    slow = Keyboard(hold_s=3600, descriptor=pipe.keyboard._keys)
    pipe.keyboard.close()
    slow.start(pipe.edges.put)
    pipe.type("m")
    assert pipe.edges.get(timeout=5).pressed
    slow.close()
    slow.close()
    assert pipe.edges.empty()


def test_the_end_of_a_pipe_is_no_press() -> None:
    reader, writer = os.pipe()
    script = Script(reader, writer)
    os.close(writer)
    assert script.keyboard._thread is not None
    script.keyboard._thread.join(timeout=5)
    assert not script.keyboard._thread.is_alive()
    assert script.edges.empty()
    script.keyboard.close()
    os.close(reader)


def test_without_standard_input_it_says_so() -> None:
    with pytest.raises(HardwareError, match=r"button\.driver: keyboard needs a standard input"):
        Keyboard(1.5, -1).start(lambda edge: None)


def test_a_keyboard_that_never_started_can_be_closed() -> None:
    button = build(Settings())
    button.close()
