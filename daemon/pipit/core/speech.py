"""When somebody starts and stops talking: decided from one voiced/unvoiced flag per frame of sound.

Three things need it: the light that shows that Pipit hears somebody, ending a turn for services that do not do so themselves,
and finding the pause after a wake word.

A frame's flag is not an answer by itself. A click of 5 ms makes webrtcvad (mode 1) report five or six voiced frames of 20 ms, since
it holds on after each sound (measured over room, pink and white noise at -65 to -45 dBFS); the shortest words ("up", "two", spoken
fast) make seven and more; and a sentence has holes. So a start needs many voiced frames close together, and single voiced frames do
not lengthen a pause.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

START_FRAMES = 8
"""Voiced frames that make a start. Beyond the six of a click; 160 ms at 20 ms, and 162 of 168 one-word clips reach it at -50 dBFS
of room noise (the others are "up" and "hi" at 180 to 220 words a minute)."""

WINDOW_FRAMES = 10
"""Frames among which they have to be: a start survives two frames lost to a plosive."""

END_MS = 700
"""Pause that ends a turn. The longest hole that webrtcvad leaves within a synthesised sentence is 280 ms, and people pause longer
than machines; the voice services use 500 to 1000 ms. The detector's own hold adds about 130 ms to it."""


class Endpointer:
    """Turns voiced/unvoiced flags into the start and the end of talking.

    Args:
        start_frames: voiced frames needed within the window to call it talking.
        window_frames: length of the window, in frames.
        end_ms: length of the pause that ends the talking.
        frame_ms: length of a frame.

    Raises:
        ValueError: a number that cannot work.
    """

    def __init__(
        self,
        start_frames: int = START_FRAMES,
        window_frames: int = WINDOW_FRAMES,
        end_ms: float = END_MS,
        frame_ms: float = 20,
    ) -> None:
        if not 1 <= start_frames <= window_frames:
            raise ValueError(f"start_frames is {start_frames}; it must be 1 to window_frames ({window_frames})")
        if frame_ms <= 0 or end_ms < frame_ms:
            raise ValueError(f"end_ms is {end_ms} and frame_ms {frame_ms}; both must be positive and end_ms at least one frame")
        self._start_frames = start_frames
        self._end_ms = end_ms
        self._frame_ms = frame_ms
        self._recent: deque[bool] = deque(maxlen=window_frames)
        self._talking = False
        self._quiet_frames = 0

    @property
    def talking(self) -> bool:
        """Whether somebody is talking, pauses shorter than `end_ms` included."""
        return self._talking

    @property
    def quiet_ms(self) -> float:
        """How long ago the last speech was, or the beginning if there was none; single voiced frames do not count as speech."""
        return self._quiet_frames * self._frame_ms

    def feed(self, voiced: bool) -> Literal["started", "stopped"] | None:
        """Take the flag of the next frame; say what changed, if anything did."""
        self._recent.append(voiced)
        self._quiet_frames += 1
        if voiced and sum(self._recent) >= self._start_frames:
            self._quiet_frames = 0
            if not self._talking:
                self._talking = True
                return "started"
        elif self._talking and self.quiet_ms >= self._end_ms:
            self._talking = False
            self._recent.clear()
            return "stopped"
        return None

    def reset(self) -> None:
        """Forget everything, as at the start: silence."""
        self._recent.clear()
        self._talking = False
        self._quiet_frames = 0
