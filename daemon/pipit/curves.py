"""`pipit wake test`: the scores of a recording, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipit.audio.wav import read_wav
from pipit.core.pcm import HEARING_RATE_HZ, Resampler
from pipit.wake import Engine, Wake

SHOWN = 0.05
"""Scores below it are left out of a curve."""

_BAR = 30
_BEFORE_S, _AFTER_S = 2.0, 1.0
"""A recording is scored as it would be in a quiet room: with silence before it, and enough after it for the last word."""


@dataclass(frozen=True)
class Point:
    """What one frame of 80 ms scored."""

    at_s: float
    """Its end, from the beginning of the recording; may lie up to 1 s beyond its end."""
    scores: dict[str, float]
    wake: Wake | None
    near: Wake | None
    """A near miss that was over now."""


def read(path: Path) -> NDArray[np.int16]:
    """Return a recording's first channel at 16 kHz, through the resampler that the microphone's sound goes through.

    Raises:
        ConfigError: it cannot be read as a WAV file.
    """
    samples, rate_hz = read_wav(path)
    return Resampler(rate_hz, HEARING_RATE_HZ).process(np.ascontiguousarray(samples[:, 0]))


def curve(engine: Engine, samples: NDArray[np.int16]) -> list[Point]:
    """Return what each frame of a recording at 16 kHz scores. The engine begins anew."""
    engine.reset()
    before = np.zeros(round(_BEFORE_S * HEARING_RATE_HZ), np.int16)
    sound = np.concatenate([before, samples, np.zeros(round(_AFTER_S * HEARING_RATE_HZ), np.int16)])
    points = []
    for start in range(0, len(sound) - engine.frame + 1, engine.frame):
        wake = engine.detect(sound[start : start + engine.frame])
        at_s = (start + engine.frame) / HEARING_RATE_HZ - _BEFORE_S
        points.append(Point(at_s, engine.scores(), wake, engine.near_miss()))
    return points


def peaks(points: Sequence[Point]) -> dict[str, float]:
    """Return the highest score of each word."""
    words = points[0].scores if points else {}
    return {word: max(point.scores[word] for point in points) for word in words}


def as_text(name: str, points: Sequence[Point]) -> Iterator[str]:
    """Yield the lines that show a curve: what it comes to, then every frame that scored at all."""
    highest = ", ".join(f"{word} {score:.3f}" for word, score in peaks(points).items()) or "nothing, since no word is listened for"
    wakes = sum(point.wake is not None for point in points)
    yield f"{name}: highest {highest}; heard {wakes} {'time' if wakes == 1 else 'times'}"
    for point in points:
        for word, score in point.scores.items():
            if score >= SHOWN:
                bar = "█" * round(_BAR * score)
                heard = "  <- heard" if point.wake is not None and point.wake.word == word else ""
                yield f"  {point.at_s:7.2f} s  {word:<14} {score:.3f} {bar:<{_BAR}}{heard}".rstrip()
        if point.near is not None:
            yield f"  {point.at_s:7.2f} s  {point.near.word:<14} near miss, at most {point.near.score:.3f}"
