"""The sound device of a real machine: PortAudio over ALSA, through PyAudio.

Two streams, one for each direction, never one for both: on a loaded machine two lost no captured block where one duplex stream lost
dozens, and now and then ended without a word. And the microphone and the loudspeaker may be different cards.

PortAudio's rules that shaped this module (read in its ALSA host API and in PyAudio's C part, 19.6 and 0.2.14):

- Devices are listed once, when PyAudio() is made. So one is made at each `open`, and indices are never kept.
- A callback that raises, or returns less than a full block, ends its stream without a sign. So nothing gets out of ours.
- A device that is unplugged raises nothing: callbacks stop, and `is_active` may go on saying True. So `failure` looks at both.
- `stop_stream` drops what is in the device. So playback runs from `open` to `close`, with silence where there is nothing to say.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyaudio

from pipit.audio import Counters
from pipit.audio.bell import Bell
from pipit.audio.cards import WORD, Card, Direction, Listed, choose, read_cards
from pipit.audio.discovery import (
    RATES_HZ,
    channels_to_try,
    default_device,
    list_with,
    native_shape,
    quiet_stderr,
    title,
    why,
)
from pipit.audio.discovery import list_devices as list_devices
from pipit.audio.mixer import Mixer
from pipit.core.align import Clock, Line
from pipit.core.options import option
from pipit.core.pcm import Resampler
from pipit.core.playhead import Playhead
from pipit.core.ring import Ring
from pipit.errors import ConfigError, HardwareError

_KEPT_S = 4
_MIXER_RATE_HZ = 48000

_STALLED_S = 0.5
_STALLED_BLOCKS = 10
_SURE_S = 0.1
"""So much longer it is waited for a block before a stream counts as dead: where the whole process stood still, because the machine
had to swap say, the callbacks are as late as whoever asks, and come at once."""
_STARTING_S = 3.0
"""A stream may take so long to deliver its first block; a PulseAudio source that had been asleep took 1.8 s."""
_LONGEST_DELAY_S = 2.0  # what a time stamp may say of the device's buffer; more is a clock that is not meant to be compared


@dataclass(frozen=True)
class Input:
    """The microphone."""

    device: str = option(
        "default",
        "Which microphone: a card id, a USB port or a part of the name, as `pipit devices` lists them.",
        example="seeed2micvoicec",
    )
    rate: int | str = option(
        "auto", "Sample rate; auto: the best that it has.", unit="Hz", minimum=8000, maximum=96000, choices=("auto",)
    )
    channels: int | str = option(
        "auto", "How many channels are recorded; auto: as few as it takes.", minimum=1, maximum=32, choices=("auto",)
    )
    channel: int = option(0, "Which of them is listened to, counted from 0.", minimum=0, maximum=31)


@dataclass(frozen=True)
class Output:
    """The loudspeaker."""

    device: str = option("default", "Which loudspeaker; see `input.device`.", example="sndrpihifiberry")
    rate: int | str = option(
        "auto", "Sample rate; auto: the best that it has.", unit="Hz", minimum=8000, maximum=96000, choices=("auto",)
    )
    channels: int | str = option(
        "auto", "How many channels play the same sound; auto: as few as it takes.", minimum=1, maximum=32, choices=("auto",)
    )
    volume: int = option(60, "Volume at the start.", unit="%", minimum=0, maximum=100)


@dataclass(frozen=True)
class Settings:
    """A microphone and a loudspeaker by PortAudio and ALSA."""

    input: Input = option(factory=Input, doc="The microphone.")
    output: Output = option(factory=Output, doc="The loudspeaker.")
    block_ms: int = option(
        20,
        "Length of the blocks in which sound moves. Shorter ones make an interruption silent sooner and cost more processor time.",
        unit="ms",
        minimum=10,
        maximum=60,
    )
    prebuffer_ms: int = option(
        60,
        "How much of a reply is there before it starts to play; grows by itself where the network stutters.",
        unit="ms",
        minimum=0,
        maximum=240,
    )


def build(settings: Settings) -> PortAudioDevice:
    """Make the device; the hardware is looked for by `open`.

    Raises:
        ConfigError: the settings contradict each other.
    """
    channels = _number("audio.input.channels", settings.input.channels)
    if channels is not None and settings.input.channel >= channels:
        raise ConfigError(
            f"audio.input.channel: {settings.input.channel}, but only {channels} channels are recorded; count from 0, "
            "or set audio.input.channels to auto"
        )
    return PortAudioDevice(settings)


def _number(path: str, value: int | str) -> int | None:
    """Read an option that is a number or the word auto (None)."""
    if isinstance(value, int):
        return value
    if value != "auto":
        raise ConfigError(f'{path}: "{value}" is neither a number nor auto')
    return None


class _Wanted(NamedTuple):
    """What the configuration says of one direction."""

    direction: Direction
    device: str
    rate_hz: int | None
    channels: int | None
    fewest_channels: int


class _Found(NamedTuple):
    """A device, and how it is to be opened."""

    device: Listed
    rate_hz: int
    channels: int


class PortAudioDevice:
    """An audio device (see `pipit.audio.Device`) made of two PortAudio streams.

    The mixer keeps its rate for life: that of the settings, else 48 kHz. Where the loudspeaker has another, the playback callback
    converts.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        wanted_in, wanted_out = settings.input, settings.output
        self._input = _Wanted(
            "input",
            wanted_in.device,
            _number("audio.input.rate", wanted_in.rate),
            _number("audio.input.channels", wanted_in.channels),
            wanted_in.channel + 1,
        )
        self._output = _Wanted(
            "output",
            wanted_out.device,
            _number("audio.output.rate", wanted_out.rate),
            _number("audio.output.channels", wanted_out.channels),
            1,
        )
        self.input_rate_hz = self._input.rate_hz or _MIXER_RATE_HZ
        self.output_rate_hz = self._output.rate_hz or _MIXER_RATE_HZ
        self.captured = Ring(_KEPT_S * self.input_rate_hz)
        self.mixer = Mixer(self.output_rate_hz, volume=wanted_out.volume, prebuffer_ms=settings.prebuffer_ms)
        self.counters = Counters()
        self.input_latency_s = self.output_latency_s = 2 * settings.block_ms / 1000
        self._playhead = Playhead(self.output_rate_hz)
        self._heard_line, self._played_line = Line(self.input_rate_hz), Line(self.output_rate_hz)
        self._bell = Bell()
        self._capturing = True
        self._pyaudio: pyaudio.PyAudio | None = None
        self._capture: _Stream | None = None
        self._playback: _Stream | None = None

    # -- main thread ------------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Find the devices and start both streams; the microphone's only if it is not muted.

        Raises:
            HardwareError: a device is missing, busy or cannot do what the settings ask for.
        """
        self.close()
        self.counters = Counters()
        try:
            with quiet_stderr():
                self._pyaudio = pyaudio.PyAudio()
                self._open_streams(self._pyaudio)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop both streams and forget the devices."""
        for stream in (self._capture, self._playback):
            if stream is not None:
                stream.close()
        self._capture = self._playback = None
        if self._pyaudio is not None:
            self._pyaudio.terminate()
            self._pyaudio = None

    def stop_capture(self) -> None:
        """Stop the microphone's stream; it stays stopped through `close` and `open` until `start_capture`."""
        self._capturing = False
        if self._capture is not None:
            self._capture.stop()

    def start_capture(self) -> None:
        """Start the microphone's stream again.

        Raises:
            HardwareError: it is not open, or has gone meanwhile.
        """
        self._capturing = True
        if self._capture is None:
            raise HardwareError(f'the {WORD["input"]} "{self._input.device}" is not open; it is opened as soon as it is there')
        self._capture.start(time.monotonic())

    def failure(self, now: float) -> str | None:
        """Say which stream is dead, or None while both live."""
        if self._playback is None or self._capture is None:
            return "the sound device is not open"
        return self._playback.failure(now) or (self._capture.failure(now) if self._capturing else None)

    def heard(self, now: float) -> int:
        """Return the position of speech that has left the loudspeaker by `now`."""
        return self._playhead.heard(now)

    def _open_streams(self, library: pyaudio.PyAudio) -> None:
        cards = read_cards()
        listed = list_with(library, cards)
        loudspeaker = self._find(library, self._output, listed, cards)
        microphone = self._find(library, self._input, listed, cards)
        if microphone.rate_hz != self.input_rate_hz:
            self.captured = Ring(_KEPT_S * microphone.rate_hz)  # first: whoever sees the new rate sees the new ring
            self.input_rate_hz = microphone.rate_hz
        self._heard_line, self._played_line = Line(self.input_rate_hz), Line(self.output_rate_hz)
        self._playback = self._stream(library, self._output, loudspeaker, self._player(loudspeaker))
        self._capture = self._stream(library, self._input, microphone, self._recorder(microphone))
        self.output_latency_s = self._playback.latency_s
        self.input_latency_s = self._capture.latency_s
        now = time.monotonic()
        self._playback.start(now)
        if self._capturing:
            self._capture.start(now)

    def _find(self, library: pyaudio.PyAudio, wanted: _Wanted, listed: Sequence[Listed], cards: Sequence[Card]) -> _Found:
        device = default_device(library, wanted.direction, listed) if wanted.device == "default" else None
        device = device or choose(wanted.device, wanted.direction, listed, cards)
        name = title(wanted.direction, device)
        asked = (wanted.rate_hz,) if wanted.rate_hz else RATES_HZ
        rates = tuple(rate for rate in asked if rate * self._settings.block_ms % 1000 == 0)
        channels = (
            (wanted.channels,) if wanted.channels else channels_to_try(device.channels(wanted.direction), wanted.fewest_channels)
        )
        if wanted.fewest_channels > device.channels(wanted.direction):
            raise HardwareError(
                f"{name} has {device.channels(wanted.direction)} channels: channel {wanted.fewest_channels - 1} "
                f"(audio.{wanted.direction}.channel) is not there; count from 0"
            )
        shape = native_shape(library, device, wanted.direction, rates, channels)
        if shape is None:
            raise HardwareError(
                f"{name} takes none of {', '.join(map(str, rates))} Hz with {channels[0]} to {channels[-1]} channels of 16 bits; "
                f"set audio.{wanted.direction}.rate and channels to auto, and audio.block_ms to 20"
            )
        return _Found(device, *shape)

    def _stream(self, library: pyaudio.PyAudio, wanted: _Wanted, found: _Found, callback: _Callback) -> _Stream:
        name = title(wanted.direction, found.device)
        frames = found.rate_hz * self._settings.block_ms // 1000
        try:
            stream = library.open(
                rate=found.rate_hz,
                channels=found.channels,
                format=pyaudio.paInt16,
                frames_per_buffer=frames,
                stream_callback=callback,
                start=False,
                **{wanted.direction: True, f"{wanted.direction}_device_index": found.device.index},
            )
        except OSError as error:
            raise HardwareError(why(wanted.direction, found.device, *reversed(error.args))) from error
        return _Stream(stream, name, wanted.direction, callback, self._settings.block_ms / 1000)

    def _recorder(self, found: _Found) -> _Callback:
        return _Recorder(self.captured, self._heard_line, self.counters, self._bell, found.channels, self._settings.input.channel)

    def _player(self, found: _Found) -> _Callback:
        return _Player(
            self.mixer,
            self._played_line,
            self.counters,
            self._playhead,
            found.rate_hz,
            found.channels,
            self._settings.block_ms,
        )

    # -- dsp thread -------------------------------------------------------------------------------------------------------------

    def wait(self, timeout_s: float) -> bool:
        """Sleep until something was captured; False when nothing was within `timeout_s`."""
        return self._bell.wait(timeout_s)

    def reference_at(self, captured: float) -> float | None:
        """See `pipit.audio.Device`: from the time stamps of both streams."""
        heard, played = self._heard_line, self._played_line
        return played.index(heard.time(captured)) if heard.known and played.known else None


# -- streams -----------------------------------------------------------------------------------------------------------------------


class _Callback:
    """What PortAudio's thread calls for each block."""

    latency_s = 0.0
    """Of the stream, as PortAudio knows it; set before the stream starts."""

    def __init__(self) -> None:
        self.last_at = 0.0
        """When the last block came (time.monotonic)."""
        self.broken: str | None = None

    def __call__(self, data: bytes | None, frames: int, stamps: dict[str, float], status: int) -> tuple[bytes | None, int]:
        now = time.monotonic()
        self.last_at = now
        try:
            return self.block(data, frames, stamps, status, now), pyaudio.paContinue
        except BaseException as error:  # PyAudio would raise it in the main thread, wherever that is (`failure` reports it)
            self.broken = f"{type(error).__name__}: {error}"
            return self.silence(frames), pyaudio.paContinue

    def block(self, data: bytes | None, frames: int, stamps: dict[str, float], status: int, now: float) -> bytes | None:
        """Move one block."""
        raise NotImplementedError

    def silence(self, frames: int) -> bytes | None:
        """Return what is played where nothing else is."""
        raise NotImplementedError


class _Recorder(_Callback):
    """Puts one channel of the microphone into the ring."""

    def __init__(self, captured: Ring, line: Line, counters: Counters, bell: Bell, channels: int, channel: int) -> None:
        super().__init__()
        self._captured = captured
        self._line = line
        self._clock = Clock()
        self._counters = counters
        self._bell = bell
        self._channels = channels
        self._channel = channel

    def block(self, data: bytes | None, frames: int, stamps: dict[str, float], status: int, now: float) -> None:
        age_s = stamps["current_time"] - stamps["input_buffer_adc_time"]
        if not 0 < age_s < _LONGEST_DELAY_S:
            age_s = self.latency_s
        taken_at = stamps["current_time"] - age_s + self._clock.offset_s(stamps["current_time"], now)
        self._line.add(self._captured.written, taken_at)
        self._captured.write(np.frombuffer(data or b"", np.int16)[self._channel :: self._channels])
        self._counters.blocks_in += 1
        if status & pyaudio.paInputOverflow:
            self._counters.overruns += 1
        self._bell.ring()

    def silence(self, frames: int) -> None:
        return None


class _Player(_Callback):
    """Takes the mixer's sound to the loudspeaker, on all channels."""

    def __init__(
        self, mixer: Mixer, line: Line, counters: Counters, playhead: Playhead, rate_hz: int, channels: int, block_ms: int
    ) -> None:
        super().__init__()
        self._mixer = mixer
        self._line = line
        self._clock = Clock()
        self._counters = counters
        self._playhead = playhead
        self._resampler = Resampler(mixer.rate_hz, rate_hz, lobes=32)
        self._pulled = mixer.rate_hz * block_ms // 1000
        self._channels = channels
        self._interleaved = np.zeros((rate_hz * block_ms // 1000, channels), np.int16)

    def block(self, data: bytes | None, frames: int, stamps: dict[str, float], status: int, now: float) -> bytes:
        before, delay_s = self._mixer.played, self._delay_s(stamps)
        sounds_at = stamps["current_time"] + self._clock.offset_s(stamps["current_time"], now) + delay_s
        self._line.add(self._mixer.reference.written, sounds_at)
        samples = self._resampler.process(self._mixer.pull(self._pulled))
        self._playhead.hand(now, delay_s, before, self._mixer.played)
        self._counters.blocks_out += 1
        if status & pyaudio.paOutputUnderflow:
            self._counters.underruns += 1
        # Rates are chosen so that a block is a whole number of samples, so the resampler returns as many each time.
        self._interleaved[:] = samples[:, None]
        block = self._interleaved.tobytes()
        if len(block) != 2 * frames * self._channels:
            raise ValueError(f"PortAudio asked for {frames} frames in place of {len(self._interleaved)}")
        return block

    def silence(self, frames: int) -> bytes:
        return bytes(2 * frames * self._channels)

    def _delay_s(self, stamps: dict[str, float]) -> float:
        # Only the difference is used: the clock is CLOCK_MONOTONIC for a card and CLOCK_REALTIME through PulseAudio's plug-in.
        delay_s = stamps["output_buffer_dac_time"] - stamps["current_time"]
        return self._resampler.delay_s + (delay_s if 0 < delay_s < _LONGEST_DELAY_S else self.latency_s)


class _Stream:
    """One PortAudio stream and what is known of its health. Main thread."""

    def __init__(self, stream: Any, name: str, direction: Direction, callback: _Callback, block_s: float) -> None:
        self._stream = stream
        self._name = name
        self._callback = callback
        self._limit_s = max(_STALLED_S, _STALLED_BLOCKS * block_s)
        self._suspected_at: float | None = None
        self.latency_s: float = stream.get_input_latency() if direction == "input" else stream.get_output_latency()
        callback.latency_s = self.latency_s

    def start(self, now: float) -> None:
        self._callback.last_at = now + _STARTING_S - self._limit_s
        try:
            self._stream.start_stream()
        except OSError as error:
            raise HardwareError(f"{self._name} cannot be started ({error}); look at its cable") from error

    def stop(self) -> None:
        try:
            self._stream.stop_stream()
        except OSError:  # the device is gone; a stream that cannot be stopped is closed instead
            self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):  # nothing is left to be done about a device that is gone
            self._stream.close()

    def failure(self, now: float) -> str | None:
        if self._callback.broken:
            return f"{self._name}: its callback failed ({self._callback.broken}); this is an error in Pipit"
        if now - self._callback.last_at <= self._limit_s:
            self._suspected_at = None
        elif self._suspected_at is None:
            self._suspected_at = now
        elif now - self._suspected_at > _SURE_S:
            return f"{self._name} has stopped: no block for {self._limit_s:g} s; was it unplugged?"
        try:
            active = self._stream.is_active()
        except OSError:
            active = False
        return None if active else f"{self._name} has stopped; was it unplugged?"
