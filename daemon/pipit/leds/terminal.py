"""Lights in the terminal, for a machine without LEDs: one line for each state.

    ●○○ listening   steady
    ○●○ thinking    breath
    ○○● speaking    a mouth, with the voice

The three dots are the LEDs for listening, thinking and speaking that take part, and the words say how they move: a line for each
of 25 frames a second would say nothing to a person.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TextIO

from pipit.core.lights import PATTERNS, Light
from pipit.core.machine import State
from pipit.core.options import option
from pipit.leds import Board

_COLOURS = (34, 33, 32)
"""Listening blue, thinking yellow, speaking green: SGR codes of ECMA-48."""


@dataclass(frozen=True)
class Settings:
    """Where the lights go."""

    stream: str = option("stdout", "Where the lines go; the log is on stderr.", choices=("stdout", "stderr"))


class Terminal:
    """Prints a line when the state changes; coloured where the stream is a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colourful = stream.isatty()
        self._shown: State | None = None
        lit, dark = "●○"
        try:
            (lit + dark).encode(stream.encoding or "utf-8")
        except UnicodeEncodeError:
            lit, dark = "*", "."
        self._dots = (dark, lit)

    def show(self, light: Light, state: State) -> None:
        """See `Board.show`; prints only when the state is another."""
        if state is self._shown:
            return
        self._shown = None  # until it is certain: a line that fails is tried again
        self._stream.write(self._line(state) + "\n")
        self._stream.flush()
        self._shown = state

    def close(self) -> None:
        """Do nothing: what was printed stays."""

    def _line(self, state: State) -> str:
        pattern = PATTERNS[state]
        dots = "".join(self._dot(bool(lit), colour) for lit, colour in zip(pattern.lit, _COLOURS, strict=True))
        return f"{dots} {state.value:<11} {pattern.words}"

    def _dot(self, lit: bool, colour: int) -> str:
        dot = self._dots[lit]
        return f"\x1b[1;{colour}m{dot}\x1b[0m" if lit and self._colourful else dot


def build(settings: Settings) -> Board:
    """Use the process's own output."""
    return Terminal(sys.stderr if settings.stream == "stderr" else sys.stdout)
