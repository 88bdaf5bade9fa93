"""Where to begin when the service gets to hear what was said around the wake word.

A wake word is recognised a little before or after its last sound, so what follows it in the same breath has begun by then. Starting a
fixed time before the detection loses nothing, but lets the service hear the tail of the wake word, and an agent that hears "…vis" and
then silence answers it. So: where the person paused after the wake word, start with the pause; where not, start the fixed time before.
"""

from __future__ import annotations

from collections.abc import Sequence

LOOK_BACK_MS = 480
"""How far before the detection the wake word has ended at the latest; tests/bench/bench_wake.py measures the distribution."""

PAUSE_MS = 200
"""A gap this long is a pause, not a stop consonant (closures last 50 to 150 ms)."""


def start_frame(voiced: Sequence[bool], detected: int, *, frame_ms: int = 20) -> int:
    """Return the index of the frame to start with.

    Args:
        voiced: for each frame up to now, whether somebody was talking.
        detected: index of the frame after the one at whose end the wake word was recognised.
        frame_ms: length of a frame.
    """
    earliest = max(0, detected - LOOK_BACK_MS // frame_ms)
    needed = PAUSE_MS // frame_ms
    quiet = 0
    for index in range(earliest, len(voiced)):
        quiet = 0 if voiced[index] else quiet + 1
        if quiet >= needed:
            return index + 1 - quiet
    return earliest


def settled(voiced: Sequence[bool], detected: int, *, frame_ms: int = 20) -> bool:
    """Say whether waiting longer cannot change `start_frame`: a pause was found, or none can begin early enough to matter.

    A pause that begins later than PAUSE_MS after the detection is not the one after the wake word any more.
    """
    return len(voiced) - detected >= 2 * PAUSE_MS // frame_ms or start_frame(voiced, detected, frame_ms=frame_ms) != max(
        0, detected - LOOK_BACK_MS // frame_ms
    )
