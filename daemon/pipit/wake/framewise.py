"""What all engines share that score their words frame by frame, every 80 ms: options, framing, and when a score is a wake word."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, cast

from pipit.core.options import option
from pipit.wake import Wake

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

RATE_HZ = 16000

FRAME = 1280
"""Samples between two scores: 80 ms. openWakeWord's models know no other step."""

FRAME_BYTES = 2 * FRAME

CONTEXT = 480
"""Samples of the previous frame that belong to a frame's mel spectrogram (openWakeWord hands its 1760 samples over)."""

EMBEDDING_FRAMES = 10
"""Frames that an embedding looks at, in part or whole: its 76 mel frames come 8 to a frame."""


_NEAR = 0.5
"""From this share of its threshold on, a score is near it."""

_APART_FRAMES = 5
"""A near miss is over when the score was far away for 0.4 s: the wake may still come, and one utterance is one near miss."""

_INTERRUPTING = 0.7


class Bars(NamedTuple):
    """From which score on a word counts."""

    threshold: float
    interrupting: float
    """The same while Pipit speaks."""


@dataclass(frozen=True)
class Word:
    """A wake word."""

    model: str = option(
        "hey_jarvis",
        "Name of an installed model (`pipit models` lists them), or the path of your own: .tflite, or .onnx (stock: .onnx only).",
        example="hey_pipit.tflite",
        paths=(".tflite", ".onnx"),
    )
    threshold: float = option(
        0.5,
        "Score from which on it counts as heard. Lower hears more, and more that was not said.",
        minimum=0.05,
        maximum=1.0,
    )

    interrupting: float | None = option(
        None,
        "The same while Pipit itself speaks: lower, since its voice covers yours, and a wrong one costs no more than the rest of a "
        "reply. null: seven tenths of the threshold.",
        minimum=0.05,
        maximum=1.0,
    )

    def bars(self) -> Bars:
        """Return the scores that count."""
        return Bars(self.threshold, self.threshold * _INTERRUPTING if self.interrupting is None else self.interrupting)


@dataclass(frozen=True)
class Settings:
    """Options of every such engine."""

    words: tuple[Word, ...] = option((Word(),), "The wake words.")
    patience: int = option(
        1,
        "How many frames of 80 ms in a row must reach the threshold. 2 wakes less by mistake, 80 ms later, and misses a few.",
        minimum=1,
        maximum=10,
    )
    refractory_s: float = option(
        1.6,
        "How long after a wake word nothing else counts, so that one utterance wakes once.",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )

    def trigger(self, names: Iterable[str]) -> Trigger:
        """Return the trigger for these settings; `names` are those of `words`, in the same order."""
        bars = {name: word.bars() for name, word in zip(names, self.words, strict=True)}
        return Trigger(bars, self.patience, self.refractory_s)


class Frames:
    """Cuts a stream of samples into frames, whatever the blocks that it comes in.

    Args:
        samples: length of a frame.
    """

    def __init__(self, samples: int = FRAME) -> None:
        self._frame = memoryview(bytearray(2 * samples))
        self._filled = 0

    def feed(self, block: NDArray[np.int16] | ReadableBuffer) -> Iterator[memoryview]:
        """Yield every frame that the block completes, as bytes; each is valid until the next is asked for.

        Raises:
            ValueError: the block does not hold whole int16 samples.
        """
        samples = _as_bytes(block)
        start = 0
        while start < len(samples):
            count = min(len(samples) - start, len(self._frame) - self._filled)
            self._frame[self._filled : self._filled + count] = samples[start : start + count]
            start += count
            self._filled += count
            if self._filled == len(self._frame):
                self._filled = 0
                yield self._frame

    @property
    def empty(self) -> bool:
        """Whether there is no unfinished frame."""
        return self._filled == 0

    def reset(self) -> None:
        """Forget the unfinished frame."""
        self._filled = 0


def _as_bytes(block: NDArray[np.int16] | ReadableBuffer) -> memoryview:
    view = memoryview(cast("ReadableBuffer", block))  # numpy declares its buffer protocol only from Python 3.12 on
    if view.format not in ("h", "<h", "B", "b", "c") or view.nbytes % 2:
        raise ValueError(f"a block of {view.nbytes} bytes in format {view.format!r}: the wake word takes int16 samples")
    return view.cast("B") if view.c_contiguous else memoryview(view.tobytes())


class Trigger:
    """Decides which scores are a wake word, and which were near it.

    Args:
        bars: for each word, the scores that count.
        patience: how many frames in a row must reach the threshold.
        refractory_s: how long after a wake word nothing counts; whatever is recognised within it belongs to the same utterance.
    """

    def __init__(self, bars: Mapping[str, Bars], patience: int, refractory_s: float) -> None:
        self._bars = bars
        self._patience = patience
        self._refractory_frames = round(refractory_s * RATE_HZ / FRAME)
        self._quiet_frames = 0
        self._frames_over = dict.fromkeys(bars, 0)
        self._nearest: Wake | None = None
        self._far_frames = 0
        self._missed: Wake | None = None

    def feed(self, scores: Mapping[str, float], *, interrupting: bool = False) -> Wake | None:
        """Take the scores of the next frame; return the strongest word that has just been recognised, if there is one."""
        self._quiet_frames = max(0, self._quiet_frames - 1)
        recognised = [Wake(word, score) for word, score in scores.items() if self._reached(word, score, interrupting)]
        if self._quiet_frames:
            return None
        if recognised:
            self._quiet_frames = self._refractory_frames
            self._nearest = None
            return max(recognised, key=lambda wake: wake.score)
        self._come_near(scores)
        return None

    def skip(self, frames: int) -> None:
        """Let frames pass in which no word was looked for."""
        self._quiet_frames = max(0, self._quiet_frames - frames)
        self._frames_over = dict.fromkeys(self._bars, 0)
        self._go_away(frames)

    def near_miss(self) -> Wake | None:
        """Return the near miss that was over since the last call, with its highest score; the last one if there were several."""
        missed, self._missed = self._missed, None
        return missed

    def reset(self) -> None:
        """Forget the scores so far."""
        self._quiet_frames = 0
        self._frames_over = dict.fromkeys(self._bars, 0)
        self._nearest = self._missed = None
        self._far_frames = 0

    def _reached(self, word: str, score: float, interrupting: bool) -> bool:
        """Return whether this is the frame in which the word has been over its threshold for long enough."""
        bars = self._bars[word]
        over = score >= (bars.interrupting if interrupting else bars.threshold)
        self._frames_over[word] = self._frames_over[word] + 1 if over else 0
        return self._frames_over[word] == self._patience

    def _come_near(self, scores: Mapping[str, float]) -> None:
        near = [Wake(word, score) for word, score in scores.items() if score >= _NEAR * self._bars[word].threshold]
        if near:
            nearest = max(near, key=lambda wake: wake.score)
            if self._nearest is None or nearest.score > self._nearest.score:
                self._nearest = nearest
            self._far_frames = 0
        else:
            self._go_away(1)

    def _go_away(self, frames: int) -> None:
        self._far_frames += frames
        if self._nearest is not None and self._far_frames >= _APART_FRAMES:
            self._missed, self._nearest = self._nearest, None


class FramewiseEngine(ABC):
    """An engine (`pipit.wake.Engine`) that scores every frame.

    Args:
        words: names of the words.
        window: how many embeddings the longest of them looks at.
        trigger: what makes a score a wake word.
    """

    frame = FRAME

    def __init__(self, words: tuple[str, ...], window: int, trigger: Trigger) -> None:
        self.words = words
        self.look_back = (window + EMBEDDING_FRAMES - 2) * FRAME + CONTEXT
        self._trigger = trigger
        self._frames = Frames()
        self._scores = dict.fromkeys(words, 0.0)

    def detect(self, block: NDArray[np.int16] | ReadableBuffer, *, interrupting: bool = False) -> Wake | None:
        """Feed the next samples: mono int16 at 16 kHz, an array or any buffer, any number of them.

        Returns the strongest word that was recognised within this block, or None.

        Raises:
            ValueError: the block does not hold whole int16 samples.
        """
        strongest: Wake | None = None
        for frame in self._frames.feed(block):
            self._scores = self._score(frame)
            wake = self._trigger.feed(self._scores, interrupting=interrupting)
            if wake is not None and (strongest is None or wake.score > strongest.score):
                strongest = wake
        return strongest

    def follow(self, block: NDArray[np.int16] | ReadableBuffer) -> None:
        """Feed samples in which no word is looked for.

        Raises:
            ValueError: the block does not hold whole int16 samples.
        """
        for frame in self._frames.feed(block):
            self._follow(frame)
            self._let_pass(1)

    def skip(self, samples: int) -> None:
        """Let time pass of which nothing is fed, in whole frames. The models stay as they are."""
        self._let_pass(samples // FRAME)

    def near_miss(self) -> Wake | None:
        """Return the word that came near its threshold and did not reach it since the last call."""
        return self._trigger.near_miss()

    def scores(self) -> dict[str, float]:
        """Return the latest score of each word, 0 to 1; 0 before the first 80 ms."""
        return dict(self._scores)

    def reset(self) -> None:
        """Forget the sound heard so far, as at the start: after a long silence."""
        self._forget()
        self._frames.reset()
        self._trigger.reset()
        self._scores = dict.fromkeys(self.words, 0.0)

    @abstractmethod
    def close(self) -> None:
        """Free the models. May be called twice; nothing can be detected afterwards."""

    def _let_pass(self, frames: int) -> None:
        self._trigger.skip(frames)
        self._scores = dict.fromkeys(self.words, 0.0)

    @abstractmethod
    def _follow(self, frame: memoryview) -> None:
        """Take the next 1280 samples without a score."""

    @abstractmethod
    def _score(self, frame: memoryview) -> dict[str, float]:
        """Return the score of each word after the next 1280 samples."""

    @abstractmethod
    def _forget(self) -> None:
        """Put the models into the state after a long silence."""
