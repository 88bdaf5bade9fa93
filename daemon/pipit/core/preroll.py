"""Where to begin when the service gets to hear what was said around the wake word.

A wake word is recognised a little before or after its last sound, so what follows it in the same breath may have begun by then.
Starting a fixed time before the detection loses nothing, but lets the service hear the tail of the wake word, and an agent that
hears "…vis" and then silence answers it. So: where a pause had begun by the time of the detection, start with the pause; else start
the fixed time before. A pause that begins later may be the one after a short command ("hey jarvis, stop") and proves nothing, and
the silence before a wake word that was recognised early is no pause in which a request could begin: a pause follows a voice.
"""

from __future__ import annotations

from collections.abc import Sequence

LOOK_BACK_MS = 640
"""How late after its last sound a wake word is recognised at the most. tests/bench/bench_wake.py, hey_jarvis in 116 voices:
where silence follows, 448 ms (99 %: 436); where the request follows at once, 601 ms (99 %: 563), with a patience of 2 up to 636."""

PAUSE_MS = 200
"""A gap this long is a pause and not the closure of a stop consonant, which lasts 50 to 150 ms."""


def start_frame(voiced: Sequence[bool], detected: int, *, frame_ms: int = 20) -> int:
    """Return the index of the frame to start with.

    Args:
        voiced: for each frame up to now, whether somebody was talking.
        detected: index of the frame that follows the one at whose end the wake word was recognised.
        frame_ms: length of a frame.
    """
    earliest = max(0, detected - LOOK_BACK_MS // frame_ms)
    pause = PAUSE_MS // frame_ms
    for index in range(detected, earliest, -1):
        following = voiced[index : index + pause]
        if voiced[index - 1] and len(following) == pause and not any(following):
            return index
    return earliest


def settled(voiced: Sequence[bool], detected: int, *, frame_ms: int = 20) -> bool:
    """Say whether `start_frame` cannot change any more, however many frames follow."""
    return len(voiced) >= detected + PAUSE_MS // frame_ms
