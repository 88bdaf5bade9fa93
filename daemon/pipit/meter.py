"""`pipit meter`: what the ears make of this room, live: level, voice, the wake words' scores, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipit import plugins
from pipit.app import gated
from pipit.audio import Device
from pipit.config import Config
from pipit.core.events import Event
from pipit.core.pcm import dbfs
from pipit.echo import Through
from pipit.errors import HardwareError
from pipit.gate import Gated
from pipit.hearing import FRAME, Hearing
from pipit.wake import Detector, Wake

_REDRAWN_S = 0.1
_PLAIN_S = 1.0
"""How often there is a new line, where lines cannot be drawn again."""

_OPENING_S = 3.0
"""How long a sound card may take to deliver its first block."""

_QUIETEST_DBFS, _LOUDEST_DBFS = -80.0, 0.0
_BAR = 24


@dataclass
class Reading:
    """What happened in a while."""

    level_dbfs: float = -120.0
    """Of the loudest frame."""
    voiced: bool = False
    looked: bool = False
    """Whether the gate was open and wake words were looked for."""
    scores: dict[str, float] = field(default_factory=dict)
    """The highest of each word."""
    near_misses: int = 0
    """Since the start."""
    cpu: float = 0.0
    """Share of a core that the ears took."""


def as_text(reading: Reading) -> str:
    """Write a reading as words, for a log or a reader that speaks."""
    scores = ", ".join(f"{word} {score:.2f}" for word, score in reading.scores.items()) or "no wake word"
    voice = "voice" if reading.voiced else "no voice"
    gate = "open" if reading.looked else "closed"
    level = f"{reading.level_dbfs:.0f} dBFS, {voice}, gate {gate}"
    return f"{level}, {scores}, near misses {reading.near_misses}, processor {100 * reading.cpu:.1f} %"


def as_bars(reading: Reading) -> str:
    """Write a reading as one line for a terminal: bars and numbers."""
    share = (reading.level_dbfs - _QUIETEST_DBFS) / (_LOUDEST_DBFS - _QUIETEST_DBFS)
    scores = "  ".join(f"{word} {_bar(score, 10)} {score:.2f}" for word, score in reading.scores.items())
    voice = "voice" if reading.voiced else "     "
    gate = "open  " if reading.looked else "closed"
    level = f"{_bar(share, _BAR)} {reading.level_dbfs:4.0f} dBFS  {voice}  gate {gate}"
    return f"{level}  {scores}  near {reading.near_misses}  cpu {100 * reading.cpu:4.1f} %"


def _bar(share: float, width: int) -> str:
    full = round(width * min(1.0, max(0.0, share)))
    return "█" * full + "░" * (width - full)


def run(config: Config, write: Callable[[str], None], *, terminal: bool, seconds: float | None) -> None:
    """Listen and show it until `seconds` have passed, or until Ctrl-C.

    Args:
        config: which microphone, which words.
        write: takes text for standard output, line feeds included.
        terminal: whether a line can be drawn again; else there is a plain line a second.
        seconds: how long; None: for ever.

    Raises:
        ConfigError: a part cannot be made of its settings.
        HardwareError: the sound card cannot be opened, or is lost.
    """
    screen = _Screen(write, terminal)
    device: Device = plugins.build("audio", config.audio)
    ears = gated(plugins.build("wake", config.wake), config, lambda wake: screen.say(f"the gate would have missed {wake.word}"))
    try:
        _listen(device, ears, screen, seconds)
    finally:
        device.close()
        ears.close()


class _Screen:
    """Writes readings, and lines between them."""

    def __init__(self, write: Callable[[str], None], terminal: bool) -> None:
        self.every_s = _REDRAWN_S if terminal else _PLAIN_S
        self._write = write
        self._terminal = terminal
        self._lines: list[str] = []

    def say(self, text: str) -> None:
        """Put a line above the next reading. From any thread."""
        self._lines.append(text)

    def show(self, reading: Reading) -> None:
        clear, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
        while self._lines:
            self._write(f"{clear}{self._lines.pop(0)}\n")
        self._write(f"{clear}{as_bars(reading) if self._terminal else as_text(reading)}{end}")

    def close(self) -> None:
        if self._terminal:
            self._write("\n")


class _Peaks:
    """Collects the highest of everything between two readings: a `pipit.hearing.Witness`."""

    def __init__(self, ears: Detector, screen: _Screen) -> None:
        self._ears = ears
        self._screen = screen
        self._reading = Reading()
        self.hearing: Hearing | None = None
        """Set before the first frame."""

    def hear(self, ears: NDArray[np.int16]) -> None:
        """Take the next frame; the scores are those of the frames before."""
        reading = self._reading
        reading.level_dbfs = max(reading.level_dbfs, dbfs(ears))
        if self.hearing is not None:
            reading.voiced |= any(self.hearing.voiced_since(self.hearing.heard.written // FRAME - 1))
        reading.looked |= not isinstance(self._ears, Gated) or self._ears.open
        for word, score in self._ears.scores().items():
            reading.scores[word] = max(score, reading.scores.get(word, 0.0))

    def woke(self, wake: Wake) -> None:
        """Take a wake word."""
        self._screen.say(f"heard {wake.word} (score {wake.score:.2f})")

    def missed(self, near: Wake) -> None:
        """Take a near miss."""
        self._screen.say(f"near miss: {near.word} (score {near.score:.2f})")

    def take(self) -> Reading:
        """Return what was collected, and begin anew. From the main thread; a frame that comes meanwhile counts for either."""
        taken, self._reading = self._reading, Reading()
        return taken


def _listen(device: Device, ears: Detector, screen: _Screen, seconds: float | None) -> None:
    errors: list[BaseException] = []
    peaks = _Peaks(ears, screen)
    hearing = Hearing(device, ears, Through(full_duplex=False), _ignore, errors.append, peaks)
    peaks.hearing = hearing
    hearing.wake_counts = True
    hearing.start()
    try:
        device.open()
        began = shown = time.monotonic()
        cpu_s = 0.0
        while not errors and (seconds is None or shown - began < seconds):
            time.sleep(screen.every_s)
            before, shown = shown, time.monotonic()
            reading, used_s = peaks.take(), hearing.cpu_s
            reading.near_misses = hearing.near_misses
            reading.cpu = max(0.0, used_s - cpu_s) / (shown - before)
            cpu_s = used_s
            screen.show(reading)
            _check(device, hearing, shown - began)
    finally:
        screen.close()
        hearing.stop()
    if errors:
        raise errors[0]


def _ignore(event: Event) -> None:
    """Do nothing: what matters comes to the witness."""


def _check(device: Device, hearing: Hearing, running_s: float) -> None:
    reason = device.failure(time.monotonic())
    if reason is None and hearing.frames == 0 and running_s > _OPENING_S:
        reason = "the microphone delivers nothing"
    if reason is not None:
        raise HardwareError(reason)
