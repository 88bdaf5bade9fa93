"""Notices a canceller that adds sound instead of taking it away.

A cue that is played while a person talks can teach a canceller the person for its echo. Where the microphone then hears no echo at
all (headphones, a loudspeaker that is switched off), what it takes out of the next reply is a ghost, and Pipit hears itself.
"""

from __future__ import annotations

from collections import deque

_FRAMES = 4
_SHARE = 4.0
"""So much more power than there was: a filter that is right, but for an echo that has just moved, leaves twice as much (3 dB)."""
_LEAST = 1e-8  # mean power: what is left below -80 dBFS harms nobody


class Louder:
    """Compares what came out with what went in."""

    def __init__(self) -> None:
        self._out: deque[float] = deque(maxlen=_FRAMES)
        self._in: deque[float] = deque(maxlen=_FRAMES)

    def rest(self) -> None:
        """Begin anew after a time without sound."""
        self._out.clear()
        self._in.clear()

    def feed(self, left: float, heard: float) -> bool:
        """Take the mean powers of a frame, after and before; say whether it has become louder by far."""
        self._out.append(left)
        self._in.append(heard)
        return sum(self._out) > _SHARE * (sum(self._in) + _LEAST * len(self._in))
