"""Sound in and out: the contract of an audio device.

A device has a capture ring and a mixer. Its two callbacks (threads that PortAudio owns, or the pacing thread of the file backend)
do nothing but copy: microphone block -> `captured`, `mixer.pull()` -> loudspeaker. Everything else happens in threads that may be
late.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pipit.audio.mixer import Mixer
from pipit.core.ring import Ring


@dataclass
class Counters:
    """What happened at the device since it was opened. Written by the callbacks, read by anybody."""

    blocks_in: int = 0
    blocks_out: int = 0
    overruns: int = 0
    """Capture: blocks that the device or the ring had to drop."""
    underruns: int = 0
    """Playback: the device asked later than its buffer lasted."""


class Device(Protocol):
    """One microphone and one loudspeaker. MUST be usable from three threads as described at each member."""

    captured: Ring
    """What the microphone heard: mono int16 at `input_rate_hz`. Written by the capture callback, read by the dsp thread only.

    `open` may put another ring in its place: the microphone that was found may have another rate. How far the dsp thread has read
    (`Ring.consumed`) sets the pace of a device that can wait for it (`file` with `pace: fast`).
    """
    mixer: Mixer
    """What the loudspeaker plays, at `output_rate_hz`. Filled by the main thread, drained by the playback callback.

    It and its rate stay the same for the life of the device, whatever `open` finds.
    """
    counters: Counters
    input_rate_hz: int
    output_rate_hz: int
    input_latency_s: float
    """From the microphone's membrane to `captured`."""
    output_latency_s: float
    """From `mixer.pull` to the loudspeaker's membrane."""

    def open(self) -> None:
        """Find the devices and start both streams. Main thread; may take 0.3 s.

        Raises:
            HardwareError: a device is missing or busy; names it, lists what is there. May be called again later.
        """

    def close(self) -> None:
        """Stop both streams and forget the devices. Never raises; may be called twice; `open` works again afterwards."""

    def stop_capture(self) -> None:
        """Stop the microphone's stream (mute); nothing is captured after this returns. The loudspeaker goes on.

        It stays stopped through `close` and `open`, until `start_capture`. Never raises; the device need not be open.
        """

    def start_capture(self) -> None:
        """Start the microphone's stream again after `stop_capture`.

        Raises:
            HardwareError: the microphone has gone meanwhile, or is not open; the next `open` starts it.
        """

    def wait(self, timeout_s: float) -> bool:
        """Sleep until `captured` holds something new; False when nothing came in time. dsp thread."""

    def failure(self, now: float) -> str | None:
        """Say why the streams are dead, or None while they live. `now` is time.monotonic(). Cheap; called a few times a second."""

    def heard(self, now: float) -> int:
        """Return the mixer's speech position (samples) that has left the loudspeaker by `now`: handed out minus latency."""

    def reference_at(self, captured: float) -> float | None:
        """Return which sample of `mixer.reference` was at the loudspeaker when a sample of `captured` was at the microphone.

        Both are positions since the rings were made, and need not be whole. dsp thread. None while that is not known.
        """
