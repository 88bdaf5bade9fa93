"""Decides from the sound that a client sends where somebody speaks: turn detection as voice services do it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import HEARING_RATE_HZ, Resampler, dbfs
from pipit.core.speech import Endpointer
from pipit.vad import FRAME, FRAME_MS, Vad

BLIP_MS = 250
"""Voiced sound shorter than this is no request: a click, a cough, the last syllable of a wake word."""

_WINDOW_FRAMES = 10
_START_FRAMES = 6
_HOLD_MS = 40
"""So much longer than speech the flags say "speech" (measured: 0 to 80 ms, clips at -26 to -42 dBFS over noise at -65, -50)."""


@dataclass(frozen=True)
class TurnDetection:
    """When somebody starts and stops speaking."""

    threshold: float = 0.5
    """0 (everything may be speech) to 1 (only what surely is)."""
    silence_ms: int = 500
    """Pause that ends a turn."""
    padding_ms: int = 300
    """Sound before the start that belongs to the turn."""
    pause_ms: int | None = None
    """A pause within the turn that is told of already, shorter than `silence_ms`; None: no such pause."""

    @property
    def quietest_dbfs(self) -> float:
        """What speech must be louder than: above a quiet room's noise by default."""
        return -72 + 40 * self.threshold


@dataclass(frozen=True)
class Utterance:
    """The sound of one turn."""

    samples: NDArray[np.int16]
    """Shape (n,), 16 kHz."""
    voiced_ms: int
    """How much of it is speech."""

    @property
    def blip(self) -> bool:
        """Whether it is too short to mean anything."""
        return self.voiced_ms < BLIP_MS


@dataclass(frozen=True)
class Started:
    """Somebody speaks; where the turn begins, in ms of all sound received."""

    at_ms: int


@dataclass(frozen=True)
class Paused:
    """The turn may be over: `Resumed` or `Stopped` follows."""

    so_far: Utterance


@dataclass(frozen=True)
class Resumed:
    """It was only a pause."""


@dataclass(frozen=True)
class Stopped:
    """The pause was long enough; where the turn ends, in ms of all sound received."""

    at_ms: int


Found = Started | Paused | Resumed | Stopped | Utterance


class Ear:
    """Takes a session's sound; says where turns begin and end, and keeps the sound of the current one.

    Args:
        rate_hz: sample rate of the sound.
        detection: None to detect nothing and keep everything, for clients that decide themselves.
    """

    def __init__(self, rate_hz: int, detection: TurnDetection | None) -> None:
        self.rate_hz = rate_hz
        self._resampler = Resampler(rate_hz, HEARING_RATE_HZ)
        self._vad = Vad()
        self._rest: NDArray[np.int16] = np.empty(0, np.int16)
        self._frames: deque[tuple[NDArray[np.int16], bool]] = deque()
        self._count = 0
        self.uncommitted_ms = 0
        """How much sound came since the last `take` or `clear`, kept or not."""
        self.detect(detection)

    def detect(self, detection: TurnDetection | None) -> None:
        """Change how turns are detected; a turn that is under way goes on as if it began now."""
        self._detection = detection
        self._pausing = False
        if detection is None:
            return
        mode = 0 if detection.threshold < 0.3 else 1 if detection.threshold < 0.7 else 2 if detection.threshold < 0.9 else 3
        self._vad = Vad(mode)
        end_ms = max(FRAME_MS, detection.silence_ms - _HOLD_MS)
        self._endpointer = Endpointer(_START_FRAMES, _WINDOW_FRAMES, end_ms, FRAME_MS)

    @property
    def talking(self) -> bool:
        """Whether a turn is under way."""
        return self._detection is not None and self._endpointer.talking

    @property
    def voiced_ms(self) -> int:
        """How much of the sound that is kept is speech."""
        return max(0, FRAME_MS * sum(voiced for _, voiced in self._frames) - _HOLD_MS)

    def feed(self, samples: NDArray[np.int16]) -> list[Found]:
        """Take the next samples, shape (n,). After each `Stopped` comes the `Utterance` that it ended."""
        line = np.concatenate((self._rest, self._resampler.process(samples)))
        whole = len(line) // FRAME * FRAME
        self._rest = line[whole:]
        found: list[Found] = []
        for start in range(0, whole, FRAME):
            found += self._frame(line[start : start + FRAME])
        return found

    def take(self) -> Utterance:
        """Return the sound of the current turn and begin another."""
        utterance = self._so_far()
        self.clear()
        return utterance

    def _so_far(self) -> Utterance:
        samples = np.concatenate([samples for samples, _ in self._frames] or [np.empty(0, np.int16)])
        return Utterance(samples, self.voiced_ms)

    def clear(self) -> None:
        """Forget the sound of the current turn; the count of milliseconds goes on."""
        self._frames.clear()
        self._pausing = False
        self.uncommitted_ms = 0
        if self._detection is not None:
            self._endpointer.reset()

    def _voiced(self, samples: NDArray[np.int16]) -> bool:
        """Say whether a frame is speech.

        A client may send digital silence, while its loudspeaker plays for example. webrtcvad would take that for the background and
        the room's noise after it for speech, for three seconds and more; so it does not get to see it.
        """
        if not samples.any():
            return False
        speech = self._vad.is_speech(samples)
        return speech and (self._detection is None or dbfs(samples) > self._detection.quietest_dbfs)

    def _frame(self, samples: NDArray[np.int16]) -> list[Found]:
        voiced = self._voiced(samples)
        self._frames.append((samples, voiced))
        self._count += 1
        self.uncommitted_ms += FRAME_MS
        if self._detection is None:
            return []
        change = self._endpointer.feed(voiced)
        if change == "started":
            return [Started(self._begin(self._detection.padding_ms))]
        if change == "stopped":
            stopped = Stopped(self._count * FRAME_MS)
            return [stopped, self.take()]
        if not self._endpointer.talking:
            self._forget_before(self._detection.padding_ms)
            return []
        return self._pause(self._detection.pause_ms)

    def _pause(self, pause_ms: int | None) -> list[Found]:
        """Say whether a pause within the turn has become long enough to be told of, or has ended."""
        if pause_ms is None:
            return []
        pausing = self._endpointer.quiet_ms >= max(FRAME_MS, pause_ms - _HOLD_MS)
        if pausing == self._pausing:
            return []
        self._pausing = pausing
        return [Paused(self._so_far())] if pausing else [Resumed()]

    def _begin(self, padding_ms: int) -> int:
        """Cut the sound kept to the turn that has been found to begin; return its begin in ms."""
        recent = [voiced for _, voiced in self._frames][-_WINDOW_FRAMES:]
        before_onset = len(self._frames) - len(recent) + recent.index(True)
        while before_onset * FRAME_MS > padding_ms:
            self._frames.popleft()
            before_onset -= 1
        return (self._count - len(self._frames)) * FRAME_MS

    def _forget_before(self, padding_ms: int) -> None:
        while len(self._frames) > _WINDOW_FRAMES + padding_ms // FRAME_MS:
            self._frames.popleft()
