"""WAV in, WAV out: the sound device of the demonstration and of tests. Needs no hardware.

One thread plays both callbacks. With `pace: realtime` it behaves like a sound card; with `pace: fast` it goes on as soon as the dsp
thread has read what was captured (`Ring.consumed`), so a minute of sound takes as long as processing it does.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipit.audio import Counters
from pipit.audio.bell import Bell
from pipit.audio.mixer import Mixer
from pipit.audio.wav import WavWriter, read_wav
from pipit.core.options import option
from pipit.core.pcm import HEARING_RATE_HZ
from pipit.core.ring import Ring
from pipit.errors import ConfigError, HardwareError

_KEPT_S = 4
_POLL_S = 0.0005
_SLEPT_S = 1.0  # later than this is no jitter: the machine was suspended, and nobody wants the time that passed to be caught up


@dataclass(frozen=True)
class Input:
    """The microphone."""

    path: str | None = option(
        None, "WAV file that is heard (8, 16, 24 or 32-bit PCM); null is silence.", example="question.wav", paths=("",)
    )
    channel: int = option(0, "Which channel of the file, counted from 0.", minimum=0, maximum=31)
    at_end: str = option(
        "silence",
        "What follows the file: silence, the file again, or the end of the device.",
        choices=("silence", "loop", "stop"),
    )


@dataclass(frozen=True)
class Output:
    """The loudspeaker."""

    path: str | None = option(
        None, "WAV file that receives what is played; null throws it away.", example="answer.wav", paths=("",)
    )
    rate: int = option(48000, "Sample rate of that file.", unit="Hz", minimum=8000, maximum=96000)
    volume: int = option(60, "Volume at the start.", unit="%", minimum=0, maximum=100)


@dataclass(frozen=True)
class Settings:
    """WAV files in the place of a sound card."""

    input: Input = option(factory=Input, doc="The microphone.")
    output: Output = option(factory=Output, doc="The loudspeaker.")
    block_ms: int = option(20, "Length of the blocks in which sound moves.", unit="ms", minimum=5, maximum=100)
    prebuffer_ms: int = option(60, "How much of a reply is there before it starts to play.", unit="ms", minimum=0, maximum=240)
    pace: str = option("realtime", "As fast as a sound card, or as fast as it can be processed.", choices=("realtime", "fast"))


def build(settings: Settings) -> FileDevice:
    """Read the input file and make the device.

    Raises:
        ConfigError: the input file cannot be used.
    """
    heard, rate_hz = _read(settings.input)
    return FileDevice(settings, heard, rate_hz)


def _read(settings: Input) -> tuple[NDArray[np.int16], int]:
    if settings.path is None:
        return np.empty(0, np.int16), HEARING_RATE_HZ
    try:
        samples, rate_hz = read_wav(settings.path)
    except ConfigError as error:
        raise ConfigError(*(f"audio.input.path: {problem}" for problem in error.problems)) from error
    channels = samples.shape[1]
    if settings.channel >= channels:
        raise ConfigError(
            f"audio.input.channel: {settings.path} has {channels} channels, so {settings.channel} is not there; count from 0"
        )
    return np.ascontiguousarray(samples[:, settings.channel]), rate_hz


class FileDevice:
    """An audio device (see `pipit.audio.Device`) made of files. The tape goes on where it was when the device is opened again."""

    input_latency_s = 0.0
    output_latency_s = 0.0

    def __init__(self, settings: Settings, heard: NDArray[np.int16], input_rate_hz: int) -> None:
        self.input_rate_hz = input_rate_hz
        self.output_rate_hz = settings.output.rate
        self.captured = Ring(_KEPT_S * input_rate_hz)
        self.mixer = Mixer(self.output_rate_hz, volume=settings.output.volume, prebuffer_ms=settings.prebuffer_ms)
        self.counters = Counters()
        self._settings = settings
        self._heard = heard
        self._blocks = 0  # since the beginning of the tape
        self._bell = Bell()
        self._capturing = True
        self._muted = 0  # samples of the tape that were not captured
        self._capture = threading.Lock()  # held while a block is captured, so that stop_capture returns after the last one
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._file: BinaryIO | None = None
        self._ever_opened = False
        self._broken: str | None = None

    def open(self) -> None:
        """Start the thread; the output file is emptied the first time.

        Raises:
            HardwareError: the output file cannot be written, or the input is over (`at_end: stop`).
        """
        self.close()
        if self._over():
            raise HardwareError(self._end_message())
        writer = self._open_output()
        self._ever_opened = True
        self._broken = None
        self.counters = Counters()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(writer,), name="sound-file", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the output file."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._file is not None:
            self._file.close()
            self._file = None

    def stop_capture(self) -> None:
        """Mute: the tape runs on, but nothing of it is heard."""
        with self._capture:
            self._capturing = False

    def start_capture(self) -> None:
        """Hear the tape again."""
        with self._capture:
            self._capturing = True

    def wait(self, timeout_s: float) -> bool:
        """See `pipit.audio.Device`."""
        return self._bell.wait(timeout_s)

    def failure(self, now: float) -> str | None:
        """Say why the thread has ended, or None while it runs. The time does not matter to files."""
        if self._thread is None:
            return "the sound files are not open"
        return self._broken or (None if self._thread.is_alive() else "the thread of the sound files has died; see above")

    def heard(self, now: float) -> int:
        """Return the position of the speech that is in the output file."""
        return self.mixer.played

    def reference_at(self, captured: float) -> float | None:
        """See `pipit.audio.Device`; exact, for both count the same blocks."""
        return (captured + self._muted) * self.output_rate_hz / self.input_rate_hz

    def _open_output(self) -> WavWriter | None:
        path = self._settings.output.path
        if path is None:
            return None
        try:
            self._file = Path(path).open("r+b" if self._ever_opened else "wb", buffering=0)  # noqa: SIM115 (closed in close)
            return WavWriter(self._file, self.output_rate_hz)
        except OSError as error:
            self.close()
            raise HardwareError(f"{path}: cannot be written ({error.strerror}); look at the folder and the space in it") from error

    # -- thread -----------------------------------------------------------------------------------------------------------------

    def _run(self, writer: WavWriter | None) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            try:
                self._play(writer)
            except OSError as error:
                self._broken = f"{self._settings.output.path}: cannot be written ({error.strerror}); look at the space on its disk"
                return
            captured = self._capture_block()
            self._blocks += 1
            if captured and self._settings.pace == "fast":
                self._await_reader()
                due = time.monotonic()
            else:
                due = self._await(due + self._settings.block_ms / 1000)
            if self._over():
                self._broken = self._end_message()
                return

    def _play(self, writer: WavWriter | None) -> None:
        start, stop = self._bounds(self.output_rate_hz)
        block = self.mixer.pull(stop - start)
        self.counters.blocks_out += 1
        if writer is not None:
            writer.write(block)

    def _capture_block(self) -> bool:
        start, stop = self._bounds(self.input_rate_hz)
        with self._capture:
            if not self._capturing:
                self._muted += stop - start
                return False
            self.captured.write(self._tape(start, stop))
        self.counters.blocks_in += 1
        self._bell.ring()
        return True

    def _tape(self, start: int, stop: int) -> NDArray[np.int16]:
        """Return what is heard from one sample to another, counted from the beginning of the tape."""
        length = len(self._heard)
        if self._settings.input.at_end == "loop" and length:
            return self._heard[np.arange(start, stop) % length]
        block = np.zeros(stop - start, np.int16)
        there = self._heard[start:stop]
        block[: len(there)] = there
        return block

    def _await_reader(self) -> None:
        while self.captured.consumed < self.captured.written and not self._stop.wait(_POLL_S):
            pass

    def _await(self, due: float) -> float:
        """Sleep until `due`; return what the next block is counted from."""
        now = time.monotonic()
        if now - due > _SLEPT_S:
            return now
        self._stop.wait(max(0.0, due - now))
        return due

    def _bounds(self, rate_hz: int) -> tuple[int, int]:
        """Return where the present block starts and stops, in samples; their number may differ by one from block to block."""
        per_block = self._settings.block_ms * rate_hz
        return self._blocks * per_block // 1000, (self._blocks + 1) * per_block // 1000

    def _over(self) -> bool:
        return self._settings.input.at_end == "stop" and self._bounds(self.input_rate_hz)[0] >= len(self._heard)

    def _end_message(self) -> str:
        return f"{self._settings.input.path or 'the silence'}: the recording is over (audio.input.at_end: stop)"
