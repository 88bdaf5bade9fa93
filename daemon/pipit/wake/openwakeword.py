"""openWakeWord's models, run 80 ms at a time on TensorFlow Lite: the same scores as the package at a seventh of its cost.

One feature model turns 80 ms of sound into an embedding (see tests/wake/build_features.py for why that can be done in steps, and
exactly); each word is a small classifier over the last W embeddings. Neither numpy nor the openwakeword package is involved.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pipit.core.options import option
from pipit.errors import ConfigError
from pipit.wake import Engine, Wake, words
from pipit.wake.classifier import EMBEDDING_BYTES, Classifier
from pipit.wake.models import FEATURES, find, load, models
from pipit.wake.tflite import Library, Network
from pipit.wake.words import FRAME_BYTES, Frames, Trigger

if TYPE_CHECKING:
    import numpy as np
    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

__all__ = ["Settings", "Word", "build", "models"]

_FLAVOURS = ("onnx", "tflite")

_TRAINED_ON_TFLITE = ("okay_nabu",)
"""Words trained on the TFLite features, with which 60 % of espeak-ng's voices are heard, not 34 %. Others: the ONNX ones."""

_FLOOR = {"onnx": 0.0, "tflite": -3.4e38}
"""openWakeWord's two embedding files differ in one thing: ONNX rectifies the first convolution, TFLite does not."""

_CONTEXT = 480
"""Samples of the previous frame that belong to a frame's mel spectrogram (openWakeWord hands its 1760 samples over)."""

_USED = slice(2 * 56, 2 * 1656)
"""The bytes of those 1760 samples that the feature model takes: its windows begin 56 samples in; the last 104 are never used."""

_SETTLING_FRAMES = 10
"""Frames that an embedding looks at (76 mel frames of 10 ms, windows of 25 ms). With the classifier's window, that is how much
silence it takes until nothing depends on what the memories held before it."""


@dataclass(frozen=True)
class Word(words.Word):
    """A wake word."""

    features: str = option(
        "auto",
        "Which of openWakeWord's two feature models it was trained on; auto: tflite for okay_nabu, onnx for all others.",
        choices=("auto", *_FLAVOURS),
    )

    @property
    def flavour(self) -> str:
        """The feature model to use."""
        if self.features != "auto":
            return self.features
        return "tflite" if self.model in _TRAINED_ON_TFLITE else "onnx"


@dataclass(frozen=True)
class Settings:
    """openWakeWord on TensorFlow Lite."""

    words: tuple[Word, ...] = option((Word(),), "The wake words; each further one costs a tenth of the first.")
    patience: int = option(
        1,
        "How many frames of 80 ms in a row must reach the threshold. 2 wakes less by mistake, 80 ms later, and misses a few.",
        minimum=1,
        maximum=10,
    )
    refractory_s: float = option(
        1.6,
        "How long after a wake word no other counts, so that one utterance wakes once.",
        unit="s",
        minimum=0.0,
        maximum=10.0,
    )


def build(settings: Settings) -> Engine:
    """Load the models: 15 ms on a PC.

    Raises:
        ConfigError: a model is missing or unusable, or the library is; every such problem at once.
    """
    library = Library()
    with ExitStack() as resources:
        loaded = _load(settings.words, library, resources)
        longest = max(classifier.window for _, classifier in loaded.values())
        features = {
            flavour: resources.enter_context(closing(Features(library, flavour, longest)))
            for flavour in dict.fromkeys(word.flavour for word, _ in loaded.values())
        }
        scorers = {
            name: Scorer(classifier, features[word.flavour].latest(classifier.window))
            for name, (word, classifier) in loaded.items()
        }
        thresholds = {name: word.threshold for name, (word, _) in loaded.items()}
        trigger = Trigger(thresholds, settings.patience, settings.refractory_s)
        return OpenWakeWord(tuple(features.values()), scorers, trigger, resources.pop_all())


def _load(listed: tuple[Word, ...], library: Library, resources: ExitStack) -> dict[str, tuple[Word, Classifier]]:
    """Return the settings and the classifier of each word, by name; `resources` frees them."""
    if not listed:
        raise ConfigError('wake.words: there are none, so nothing could wake Pipit; if that is meant, use "engine: off"')
    loaded: dict[str, tuple[Word, Classifier]] = {}
    problems = []
    for index, word in enumerate(listed):
        try:
            name, path = find(word.model)
            if name in loaded:
                raise ConfigError(f'"{name}" is listed twice; a file of your own is called by its name without the ending')
            loaded[name] = word, resources.enter_context(closing(load(path, library)))
        except ConfigError as error:
            problems += [f"wake.words[{index}].model: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError(*problems)
    return loaded


class Features:
    """Turns frames of sound into embeddings, and keeps the latest.

    Args:
        library: the C library.
        flavour: "onnx" or "tflite".
        window: how many embeddings to keep.
    """

    def __init__(self, library: Library, flavour: str, window: int) -> None:
        self._network = Network(library, FEATURES, xnnpack=True)
        inputs = {tensor.name: tensor.data for tensor in self._network.inputs}
        outputs = {tensor.name: tensor.data for tensor in self._network.outputs}
        inputs["floor"][:] = struct.pack("f", _FLOOR[flavour])
        self._pcm, self._embedding = inputs["pcm"], outputs["embedding"]
        self._states = [(data, outputs[name.replace("state", "next")]) for name, data in inputs.items() if name.startswith("state")]
        self._samples = memoryview(bytearray(2 * _CONTEXT + FRAME_BYTES))
        self._embeddings = memoryview(bytearray(window * EMBEDDING_BYTES))
        self._memory = [self._samples, self._embeddings, *(state for state, _ in self._states)]
        self._settle(window)

    def latest(self, window: int) -> memoryview:
        """Return a view of the last `window` embeddings, oldest first, which changes with each frame."""
        return self._embeddings[len(self._embeddings) - window * EMBEDDING_BYTES :]

    def feed(self, frame: memoryview) -> None:
        """Take the next 1280 samples."""
        self._samples[: 2 * _CONTEXT] = self._samples[-2 * _CONTEXT :]
        self._samples[2 * _CONTEXT :] = frame
        self._pcm[:] = self._samples[_USED]
        self._network.invoke()
        for state, following in self._states:
            state[:] = following
        self._embeddings[:-EMBEDDING_BYTES] = self._embeddings[EMBEDDING_BYTES:]
        self._embeddings[-EMBEDDING_BYTES:] = self._embedding

    def reset(self) -> None:
        """Go back to where silence leads."""
        for memory, silent in zip(self._memory, self._silence, strict=True):
            memory[:] = silent

    def close(self) -> None:
        """Free the model. May be called twice."""
        self._network.close()

    def _settle(self, window: int) -> None:
        for memory in self._memory:
            memory[:] = bytes(len(memory))
        silence = memoryview(bytes(FRAME_BYTES))
        for _ in range(window + _SETTLING_FRAMES):
            self.feed(silence)
        self._silence = [bytes(memory) for memory in self._memory]


class Scorer(NamedTuple):
    """A word's classifier and what it looks at."""

    classifier: Classifier
    embeddings: memoryview

    def score(self) -> float:
        """Return the word's score for the latest frame."""
        return self.classifier.score(self.embeddings)


class OpenWakeWord:
    """The engine; see `pipit.wake.Engine`.

    Args:
        features: every feature model in use.
        scorers: for each word, its classifier over the embeddings of one of them.
        trigger: what makes a score a wake word.
        resources: frees the models.
    """

    def __init__(
        self,
        features: tuple[Features, ...],
        scorers: Mapping[str, Scorer],
        trigger: Trigger,
        resources: ExitStack,
    ) -> None:
        self.words = tuple(scorers)
        self._features = features
        self._scorers = scorers
        self._trigger = trigger
        self._resources = resources
        self._frames = Frames()
        self._scores = dict.fromkeys(self.words, 0.0)

    def detect(self, block: NDArray[np.int16] | ReadableBuffer) -> Wake | None:
        """Feed the next samples: mono int16 at 16 kHz, an array or any buffer, any number of them.

        Returns the strongest word that crossed its threshold within this block, or None.

        Raises:
            ValueError: the block does not hold whole int16 samples.
        """
        strongest: Wake | None = None
        for frame in self._frames.feed(block):
            for features in self._features:
                features.feed(frame)
            self._scores = {word: scorer.score() for word, scorer in self._scorers.items()}
            wake = self._trigger.feed(self._scores)
            if wake is not None and (strongest is None or wake.score > strongest.score):
                strongest = wake
        return strongest

    def scores(self) -> dict[str, float]:
        """Return the latest score of each word, 0 to 1; 0 before the first 80 ms."""
        return dict(self._scores)

    def reset(self) -> None:
        """Forget the sound heard so far, as at the start: two seconds of silence. Costs no inference."""
        for features in self._features:
            features.reset()
        self._frames.reset()
        self._trigger.reset()
        self._scores = dict.fromkeys(self.words, 0.0)

    def close(self) -> None:
        """Free the models. May be called twice; nothing can be detected afterwards."""
        self._resources.close()
