"""Microphone -> echo canceller -> voice activity -> wake word: the one thread that looks at every sample.

It also keeps what was heard: the last seconds stay in `heard`, so that nothing said while the service is being reached is lost.
Nothing of it leaves the device unless a conversation reads it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipit.audio import Device
from pipit.core.events import CaptureRunning, Event, VoiceEnded, VoiceHeard, VoiceOver, VoiceOverEnded, WakeHeard
from pipit.core.pcm import HEARING_RATE_HZ, Resampler, dbfs
from pipit.core.ring import Ring
from pipit.core.speech import Endpointer
from pipit.echo import Canceller
from pipit.echo.reference import Reference
from pipit.vad import Vad
from pipit.wake import Detector, Wake

FRAME = HEARING_RATE_HZ // 50
"""Samples in 20 ms, the frame of the voice activity detector."""

KEPT_S = 20
"""How much is kept: longer than the longest time that a connection may take, so that nothing said meanwhile is lost."""

_VOICE_AGAIN_FRAMES = 50  # while somebody goes on talking, say so once a second

_NO_COUGH_FRAMES = 22
"""Somebody who still talks so long after it was noticed means it: 0.44 s. A cough lasts 0.2 to 0.4 s."""


class Witness(Protocol):
    """Sees what the wake word engine hears and finds. Called from the dsp thread."""

    def hear(self, ears: NDArray[np.int16]) -> None:
        """Take the next frame, before the engine."""

    def woke(self, wake: Wake) -> None:
        """Take a wake word that counted."""

    def missed(self, near: Wake) -> None:
        """Take a wake word that came near its threshold and did not reach it."""


class Hearing:
    """Owns the dsp thread.

    Args:
        device: where sound comes from; `device.captured` is read by this object only.
        engine: hears the wake word.
        canceller: the echo canceller.
        post: takes events; called from the dsp thread.
        failed: takes the exception that ended the dsp thread, if one does.
        witness: sees what the engine hears and finds, to keep it.
    """

    def __init__(
        self,
        device: Device,
        engine: Detector,
        canceller: Canceller,
        post: Callable[[Event], None],
        failed: Callable[[BaseException], None],
        witness: Witness | None = None,
    ) -> None:
        self.heard = Ring(KEPT_S * HEARING_RATE_HZ)
        """The cleaned sound: mono, 16 kHz. Written by the dsp thread, read by the main thread."""
        self.wake_counts = False
        """Whether a wake word is reported. Set by the main thread."""
        self.interrupting = False
        """Whether a wake word would interrupt Pipit's voice. Set by the main thread."""
        self.near_misses = 0
        """How often a wake word came near its threshold and did not reach it."""
        self.on_frame: Callable[[], None] | None = None
        """Called from the dsp thread after each frame while a conversation wants sound. Set by the main thread."""
        self.frames = 0
        """Frames processed since the start; the watchdog looks at it."""
        self.lost_samples = 0
        """Samples that came in faster than they were processed, at the device's rate."""
        self.level_dbfs = -120.0
        """Level of the latest frame."""
        self.voice_at = 0
        """Position in `heard` of the end of the last frame with voice while somebody was talking."""
        self._device = device
        self._engine = engine
        self._canceller = canceller
        self._reference = Reference(device.mixer.reference, device.mixer.rate_hz, device.reference_at)
        self._post = post
        self._failed = failed
        self._witness = witness
        self._vad = Vad(mode=1)
        self._endpointer = Endpointer()
        self._voiced = bytearray(KEPT_S * 50)
        self._clear = bytearray(KEPT_S * 50)
        self._talked_over = 0  # frames for which somebody has been talking over Pipit
        self._running = False
        self._fresh = True
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the dsp thread; the device need not be open yet."""
        self._running = True
        self._thread = threading.Thread(target=self._run, name="dsp", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the dsp thread."""
        self._running = False
        if self._thread is not None:
            self._thread.join(timeout=1.0)

    def restart(self) -> None:
        """Expect a new stream: the next frame is reported as CaptureRunning."""
        self._fresh = True

    @property
    def talking(self) -> bool:
        """Whether somebody is talking, short pauses included: from `VoiceHeard` to `VoiceEnded`."""
        return self._endpointer.talking

    @property
    def echo_measured(self) -> int:
        """How often it was measured how much of Pipit's voice is removed; a mark for `echo_removed_db`."""
        return 0 if self._canceller.proof is None else self._canceller.proof.count

    def echo_removed_db(self, since: int) -> float | None:
        """Return how much of Pipit's voice was removed since a mark; None if that was not measured."""
        return None if self._canceller.proof is None else self._canceller.proof.removed_db(since)

    @property
    def cpu_s(self) -> float:
        """Processor time that the dsp thread has used; 0 while it does not run."""
        thread = self._thread
        if thread is None or thread.ident is None or not thread.is_alive():
            return 0.0
        return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))

    def clear(self, position: int) -> bool:
        """Say whether a service may hear the frame at a position in `heard` also during a reply; see `pipit.echo.Cleaned`."""
        return bool(self._clear[position // FRAME % len(self._clear)])

    def voiced_since(self, frame: int) -> list[bool]:
        """Return for each frame from `frame` (index since the start) to now whether it held voice."""
        last = self.heard.written // FRAME
        first = max(frame, last - len(self._voiced) + 1)
        return [bool(self._voiced[index % len(self._voiced)]) for index in range(first, last)]

    def _run(self) -> None:
        try:
            self._listen()
        except BaseException as error:
            self._failed(error)

    def _listen(self) -> None:
        captured = self._device.captured
        rest = np.empty(0, np.int16)
        rate_hz, resampler, position = 0, Resampler(HEARING_RATE_HZ, HEARING_RATE_HZ), captured.written
        while self._running:
            if not self._device.wait(0.25):
                continue
            if self._device.captured is not captured or self._device.input_rate_hz != rate_hz:
                captured, rate_hz = self._device.captured, self._device.input_rate_hz
                resampler, position = Resampler(rate_hz, HEARING_RATE_HZ), captured.oldest
            end = captured.written
            if position < captured.oldest:
                self.lost_samples += captured.oldest - position
                position = captured.oldest
            if end == position:
                continue
            rest = np.concatenate((rest, resampler.process(captured.read(position, end))))
            position = end
            whole = len(rest) - len(rest) % FRAME
            for start in range(0, whole, FRAME):
                late_s = (len(rest) - start) / HEARING_RATE_HZ + resampler.delay_s
                self._frame(rest[start : start + FRAME], position - late_s * rate_hz)
            rest = rest[whole:]

    def _frame(self, microphone: NDArray[np.int16], captured: float) -> None:
        """Take a frame whose first sample is at the position `captured` in the device's ring."""
        canceller = self._canceller
        reference = None
        if canceller.proof is not None:
            reference = self._reference.frame(captured, FRAME, canceller.drift, canceller.lag_s)
        cleaned = canceller.clean(microphone, reference)
        if canceller.proof is not None and len(cleaned.speech):
            left = cleaned.speech if cleaned.left is None else cleaned.left
            canceller.proof.feed(microphone, left, cleaned.ears, reference, cleaned.talking)
        self._tell_over(cleaned.talking)
        self.frames += 1
        for start in range(0, len(cleaned.speech), FRAME):
            self._hear(cleaned.speech[start : start + FRAME], cleaned.ears[start : start + FRAME], cleaned.clear)

    def _tell_over(self, talking: bool) -> None:
        before, self._talked_over = self._talked_over, self._talked_over + 1 if talking else 0
        if self.on_frame is None:
            return
        if self._talked_over in (1, _NO_COUGH_FRAMES):
            self._post(VoiceOver(goes_on=self._talked_over > 1))
        elif before and not talking:
            self._post(VoiceOverEnded())

    def _hear(self, frame: NDArray[np.int16], ears: NDArray[np.int16], clear: bool) -> None:
        """Take a frame without echo: for the service, and for the wake word engine; and whether the first is clear of Pipit."""
        index = self.heard.written // FRAME
        voiced = self._vad.is_speech(frame)
        self._voiced[index % len(self._voiced)] = voiced
        self._clear[index % len(self._clear)] = clear
        self.heard.write(frame)
        position = self.heard.written
        self.level_dbfs = dbfs(frame)
        if self._fresh:
            self._fresh = False
            self._post(CaptureRunning())
        change = self._endpointer.feed(voiced)
        if voiced and self._endpointer.talking:
            self.voice_at = position
        on_frame = self.on_frame
        if on_frame is not None:
            if change == "started" or (self._endpointer.talking and self.frames % _VOICE_AGAIN_FRAMES == 0):
                self._post(VoiceHeard())
            elif change == "stopped":
                self._post(VoiceEnded())
            on_frame()
        self._look_for_wake(ears, position)

    def _look_for_wake(self, ears: NDArray[np.int16], position: int) -> None:
        if self._witness is not None:
            self._witness.hear(ears)
        wake = self._engine.detect(ears, interrupting=self.interrupting)
        if wake is not None and self.wake_counts:
            self._post(WakeHeard(wake.word, wake.score, position))
            if self._witness is not None:
                self._witness.woke(wake)
        near = self._engine.near_miss()
        if near is not None and self.wake_counts:
            self.near_misses += 1
            if self._witness is not None:
                self._witness.missed(near)
