"""`pipit doctor echo`: plays a test sound, and says what the microphone hears of it and what is left when the echo is taken out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipit import plugins
from pipit.audio import Device
from pipit.config import Config
from pipit.core.babble import babble
from pipit.core.likeness import likeness
from pipit.core.pcm import HEARING_RATE_HZ
from pipit.echo import Canceller, Cleaned
from pipit.echo.memory import Memory
from pipit.echo.proof import FLOOR_DB, Proof, power
from pipit.echo.reference import LEAD_S
from pipit.errors import HardwareError
from pipit.hearing import FRAME, Hearing

_QUIET_S = 1.5
_SOUND_S = 10.0
_SOUND_DBFS = -20.0
_AFTER_S = 1.2
_PIECE_S = 0.1
_OPENING_S = 5.0
"""How long a sound card may take to deliver its first block."""

_AUDIBLE_DB = 10.0
_CLIPPED = 32700
_CLIPPED_SHARE = 1e-4
_OURS = 12.0  # see `core.likeness`
_EARLY = HEARING_RATE_HZ // 10
_SPAN_FRAMES = 50


@dataclass(frozen=True)
class Findings:
    """What was measured. Levels are RMS relative to full scale."""

    engine: str
    """`echo.engine`."""
    floor_db: float
    """What has to be removed for full duplex."""
    noise_dbfs: float
    """At the microphone before the sound."""
    heard_dbfs: float
    """At the microphone while it sounded."""
    left_dbfs: float
    """What was left of it, in the second half."""
    removed_db: float
    """How much less that is."""
    clipped: bool
    """Whether the microphone was overdriven."""
    delay_ms: float | None
    """From handing the sound to the loudspeaker to hearing it; None: what was played is not in what was heard."""
    drift_ppm: float
    """How much faster than the microphone's the loudspeaker's clock runs, as far as it was found."""

    @property
    def audible(self) -> bool:
        """Whether the microphone heard the loudspeaker."""
        return self.heard_dbfs > self.noise_dbfs + _AUDIBLE_DB

    @property
    def works(self) -> bool:
        """Whether a person may talk over Pipit."""
        gone = self.left_dbfs < self.noise_dbfs + 3
        return self.engine != "off" and self.audible and (gone or self.removed_db >= self.floor_db)


def as_text(found: Findings) -> list[str]:
    """Return the lines that the owner reads, advice last."""
    delay = "unknown: what was played is not in what was heard" if found.delay_ms is None else f"{found.delay_ms:.0f} ms"
    return [
        f"level at the microphone: {found.heard_dbfs:.0f} dBFS (noise before: {found.noise_dbfs:.0f} dBFS)",
        f"delay from playing to hearing: {delay}",
        f"drift between the two clocks: {found.drift_ppm:+.0f} ppm",
        f"removed by echo.engine {found.engine}: {found.removed_db:.0f} dB (needed: {found.floor_db:.0f})",
        advice(found),
    ]


def advice(found: Findings) -> str:
    """Return one sentence: what to do, or that nothing needs to be done."""
    if not found.audible:
        return (
            "The microphone does not hear the loudspeaker: look at the volume, the cables, and at audio.input.device and "
            "audio.output.device (`pipit devices`)."
        )
    if found.clipped:
        return "The microphone is overdriven: turn its gain down (alsamixer, F4), or move it away from the loudspeaker."
    if found.engine == "off":
        return "Nothing cancels the echo: set echo.engine to hybrid, and you may talk over Pipit."
    if found.works:
        return "Echo cancelling works: you may talk over Pipit."
    if found.engine == "hardware":
        return "The device does not cancel its own echo: set echo.engine to hybrid."
    if found.delay_ms is None:
        return "The microphone hears something else than Pipit plays: look for another program that plays, or for a sound effect."
    return "Too little is removed: turn the volume down in case the loudspeaker distorts, and keep it from shaking the microphone."


def echo(config: Config) -> Findings:
    """Play the test sound and measure.

    Args:
        config: which sound card, which canceller; no wake word is needed.

    Raises:
        ConfigError: a part cannot be made of its settings.
        HardwareError: the sound card cannot be opened, or is lost.
    """
    device: Device = plugins.build("audio", config.audio)
    observed = _Observed(plugins.build("echo", config.echo))
    crashes: list[BaseException] = []
    engine = plugins.build("wake", config.wake)
    hearing = Hearing(device, engine, observed, lambda event: None, crashes.append)
    try:
        device.open()
        hearing.start()
        _wait(device, lambda: hearing.frames > 0, _OPENING_S)
        _wait(device, lambda: hearing.frames >= _QUIET_S * 50, _OPENING_S)
        quiet = len(observed.heard)
        _play(device, babble(_SOUND_S, device.output_rate_hz, _SOUND_DBFS))
        done = hearing.frames + _AFTER_S * 50
        _wait(device, lambda: hearing.frames >= done, _OPENING_S)
    finally:
        hearing.stop()
        device.close()
        engine.close()
    if crashes:
        raise crashes[0]
    floor_db = getattr(config.echo.settings, "floor_db", FLOOR_DB)
    return observed.findings(config.echo.name, floor_db, quiet, device.input_latency_s + device.output_latency_s)


def _play(device: Device, sound: NDArray[np.int16]) -> None:
    mixer, piece = device.mixer, round(_PIECE_S * device.output_rate_hz)
    for start in range(0, len(sound), piece):
        _wait(device, lambda: mixer.free >= piece, _OPENING_S)
        mixer.write(sound[start : start + piece])
    mixer.end()
    _wait(device, lambda: mixer.played == mixer.written, _SOUND_S)


def _wait(device: Device, condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        now = time.monotonic()
        failure = device.failure(now)
        if failure is None and now > deadline:
            failure = f"the sound card did not go on for {limit_s:.0f} s; try again, and look at `pipit devices`"
        if failure is not None:
            raise HardwareError(failure)
        time.sleep(0.01)


class _Observed:
    """A canceller that keeps what went in and what came out. The dsp thread works on it; `findings` is asked for afterwards."""

    def __init__(self, canceller: Canceller) -> None:
        self.canceller = canceller
        self.full_duplex = canceller.full_duplex
        self.proof: Proof | None = canceller.proof or Proof()  # also where nothing cancels: else no reference is read
        self.memory: Memory | None = None
        self.drift = self.lag_s = 0.0
        self.heard: list[NDArray[np.int16]] = []
        self._played: list[NDArray[np.int16]] = []
        self._left: list[NDArray[np.int16]] = []

    def remember(self, memory: Memory) -> bool:
        return self.canceller.remember(memory)

    def clean(self, microphone: NDArray[np.int16], reference: NDArray[np.int16] | None) -> Cleaned:
        cleaned = self.canceller.clean(microphone, reference)
        self.drift, self.lag_s = self.canceller.drift, self.canceller.lag_s
        self.heard.append(microphone)
        self._played.append(np.zeros(FRAME, np.int16) if reference is None else reference)
        self._left.append(cleaned.speech)
        return cleaned

    def findings(self, engine: str, floor_db: float, quiet: int, latency_s: float) -> Findings:
        heard, played, left = (np.concatenate(frames) for frames in (self.heard, self._played, self._left))
        sounding = np.flatnonzero(played)
        begin = int(sounding[0]) if len(sounding) else quiet * FRAME
        end = int(sounding[-1]) + 1 if len(sounding) else len(heard)
        middle = (begin + end) // 2
        clipped = float(np.mean(np.abs(heard[begin:end].astype(np.int32)) >= _CLIPPED))
        heard_dbfs, left_dbfs = _dbfs(heard[middle:end]), _dbfs(left[middle:end])
        return Findings(
            engine,
            floor_db,
            _dbfs(heard[quiet * FRAME // 3 : quiet * FRAME]),
            heard_dbfs,
            left_dbfs,
            heard_dbfs - left_dbfs,
            clipped > _CLIPPED_SHARE,
            self._delay_ms(heard[:end], played[:end], latency_s),
            self.drift * 1e6,
        )

    def _delay_ms(self, heard: NDArray[np.int16], played: NDArray[np.int16], latency_s: float) -> float | None:
        seconds = _SPAN_FRAMES * FRAME
        found = likeness(
            heard[-2 * seconds :].astype(np.float32),
            played[-3 * seconds :].astype(np.float32),
            _EARLY,
        )
        if found.prominence < _OURS:
            return None
        return 1000 * (latency_s + found.lag / HEARING_RATE_HZ - LEAD_S + self.lag_s)


def _dbfs(samples: NDArray[np.int16]) -> float:
    return 10 * math.log10(power(samples))
