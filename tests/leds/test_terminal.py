from __future__ import annotations

import io
import os
import pty

import pytest

from pipit.core.lights import FRAME_S, Light, light
from pipit.core.machine import State
from pipit.leds.terminal import Settings, Terminal, build

DAY = (State.STARTING, State.IDLE, State.CONNECTING, State.LISTENING, State.HEARING, State.THINKING, State.SPEAKING, State.MUTED)


def test_a_line_for_each_state() -> None:
    stream = io.StringIO()
    board = Terminal(stream)
    for state in DAY:
        board.show(light(state, 0.0, 0.5), state)
    assert stream.getvalue().splitlines() == [
        "○●○ starting    a blink a second",
        "○○○ idle        dark",
        "●○○ connecting  two blinks a second",
        "●○○ listening   steady",
        "●○○ hearing     a nod, with the voice",
        "○●○ thinking    breath",
        "○○● speaking    a mouth, with the voice",
        "●●● muted       M in Morse code",
    ]


def test_frames_of_a_rhythm_print_nothing() -> None:
    stream = io.StringIO()
    board = Terminal(stream)
    for frame in range(200):
        board.show(light(State.THINKING, frame * FRAME_S, 0.0), State.THINKING)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_terminal_sees_colours() -> None:
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        Terminal(stream).show(Light(speaking=1), State.SPEAKING)
        text = os.read(master, 1000).decode()
    os.close(master)
    assert text.startswith("○○\x1b[1;32m●\x1b[0m speaking")


def test_a_terminal_without_these_characters_gets_others() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Terminal(stream).show(Light(listening=1), State.LISTENING)
    assert raw.getvalue().startswith(b"*.. listening")


def test_a_line_that_could_not_be_written_is_written_later() -> None:
    class Unplugged(io.StringIO):
        plugged = False

        def write(self, text: str) -> int:
            if not self.plugged:
                raise OSError("unplugged")
            return super().write(text)

    stream = Unplugged()
    board = Terminal(stream)
    with pytest.raises(OSError, match="unplugged"):
        board.show(Light(listening=1), State.LISTENING)
    stream.plugged = True
    board.show(Light(listening=1), State.LISTENING)
    assert "listening" in stream.getvalue()


def test_the_owner_chooses_the_stream(capsys: pytest.CaptureFixture[str]) -> None:
    build(Settings(stream="stderr")).show(Light(), State.IDLE)
    build(Settings()).show(Light(listening=1), State.LISTENING)
    printed = capsys.readouterr()
    assert "idle" in printed.err
    assert "listening" in printed.out
