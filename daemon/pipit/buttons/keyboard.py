"""The keyboard as button, for a machine without one: Enter or the space bar is a press, "m" is a hold.

Standard input may be a terminal, where a key acts by itself, or a pipe, where an empty line is a press, and "m" a hold whether its
line is ended or not. A press lasts as long as a finger's, and a hold is really held, so that what follows is what follows a button.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipit.buttons import Button, Gesture
from pipit.core.events import Edge
from pipit.errors import HardwareError

_PRESS_S = 0.12
"""Longer than contacts may bounce, shorter than a hold may be."""

_MARGIN_S = 0.1
"""By how much a hold outlasts what counts as one."""


@dataclass(frozen=True)
class Settings(Gesture):
    """As for every button."""


class Keyboard:
    """Turns keys into edges.

    Args:
        hold_s: what counts as a hold.
        descriptor: where the keys come from.
    """

    def __init__(self, hold_s: float, descriptor: int) -> None:
        self._hold_s = hold_s
        self._keys = descriptor
        self._thread: threading.Thread | None = None
        self._restore: list[Any] | None = None  # how the terminal was

    def start(self, post: Callable[[Edge], None]) -> None:
        """See `Button.start`."""
        try:
            terminal = os.isatty(self._keys)
            os.fstat(self._keys)
        except OSError as error:
            raise HardwareError("button.driver: keyboard needs a standard input; use gpio or off") from error
        if terminal:
            self._restore = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys, termios.TCSANOW)  # single keys, no echo; Ctrl-C still works
        self._stop, self._stopper = os.pipe()  # readable from close() on, which ends every wait of the thread
        self._thread = threading.Thread(target=self._read, args=(post, terminal), name="keyboard", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """See `Button.close`; puts the terminal back as it was."""
        if self._thread is None:
            return
        os.write(self._stopper, b".")
        self._thread.join()
        self._thread = None
        if self._restore is not None:
            termios.tcsetattr(self._keys, termios.TCSANOW, self._restore)
        os.close(self._stop)
        os.close(self._stopper)

    def _read(self, post: Callable[[Edge], None], terminal: bool) -> None:
        before = ""
        while self._stop not in select.select([self._keys, self._stop], [], [])[0]:
            key = os.read(self._keys, 1).decode("ascii", "replace")
            if not key:
                return  # the pipe was closed at its other end
            duration_s = _duration_s(key, "" if terminal else before, self._hold_s)
            before = key
            if duration_s is not None and not self._press(post, duration_s):
                return

    def _press(self, post: Callable[[Edge], None], duration_s: float) -> bool:
        """Hold the button down; return False if that was cut short by `close`."""
        post(Edge(True, time.monotonic()))
        if select.select([self._stop], [], [], duration_s)[0]:
            return False
        post(Edge(False, time.monotonic()))
        return True


def build(settings: Settings) -> Button:
    """Use the process's standard input."""
    return Keyboard(settings.hold_s, sys.__stdin__.fileno() if sys.__stdin__ else -1)


def _duration_s(key: str, before: str, hold_s: float) -> float | None:
    """Return for how long a key holds the button down, or None if it does not touch it."""
    if key == "m":
        return hold_s + _MARGIN_S
    ends_a_line = key == "\n" and before not in ("", "\n")
    return _PRESS_S if key in " \n" and not ends_a_line else None
