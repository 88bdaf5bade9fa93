"""openWakeWord's models, run 80 ms at a time on TensorFlow Lite: the same scores as the package at a seventh of its cost.

One feature model turns 80 ms of sound into an embedding (see tests/wake/build_features.py for why that can be done in steps, and
exactly); each word is a small classifier over the last W embeddings. Neither numpy nor the openwakeword package is involved.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import NamedTuple

from pipit.core.options import option
from pipit.wake import Engine, framewise
from pipit.wake.classifier import EMBEDDING_BYTES, Classifier
from pipit.wake.framewise import CONTEXT, EMBEDDING_FRAMES, FRAME_BYTES, FramewiseEngine, Trigger
from pipit.wake.models import FEATURES, installed, load, locate, models
from pipit.wake.tflite import Library, Network

__all__ = ["Settings", "Word", "build", "models"]

_FLAVOURS = ("onnx", "tflite")

_TRAINED_ON_TFLITE = ("okay_nabu",)
"""Words trained on the TFLite features, with which 60 % of espeak-ng's voices are heard, not 34 %. Others: the ONNX ones."""

_FLOOR = {"onnx": 0.0, "tflite": -3.4e38}
"""openWakeWord's two embedding files differ in one thing: ONNX rectifies the first convolution, TFLite does not."""

_USED = slice(2 * 56, 2 * 1656)
"""The bytes of the 1760 samples that the feature model takes: its windows begin 56 samples in; the last 104 are never used."""


@dataclass(frozen=True)
class Word(framewise.Word):
    """A wake word."""

    features: str = option(
        "auto",
        "Which of openWakeWord's two feature models it was trained on; auto: tflite for okay_nabu, onnx for all others.",
        choices=("auto", *_FLAVOURS),
    )

    def flavour(self, name: str) -> str:
        """Return which feature model to use; `name` is the model's."""
        if self.features != "auto":
            return self.features
        return "tflite" if name in _TRAINED_ON_TFLITE else "onnx"


@dataclass(frozen=True)
class Settings(framewise.Settings):
    """openWakeWord on TensorFlow Lite."""

    words: tuple[Word, ...] = option((Word(),), "The wake words. Each further one costs a tenth of the first.")


def build(settings: Settings) -> Engine:
    """Load the models: 15 ms on a PC.

    Raises:
        ConfigError: a model is missing or unusable, or the library is.
    """
    files = locate([word.model for word in settings.words], installed())
    library = Library()
    with ExitStack() as resources:
        classifiers = {name: resources.enter_context(closing(load(path, library))) for name, path in files.items()}
        flavours = {name: word.flavour(name) for name, word in zip(files, settings.words, strict=True)}
        window = max(classifier.window for classifier in classifiers.values())
        features = {
            flavour: resources.enter_context(closing(Features(library, flavour, window)))
            for flavour in sorted(set(flavours.values()))
        }
        scorers = {
            name: Scorer(classifier, features[flavours[name]].latest(classifier.window)) for name, classifier in classifiers.items()
        }
        return OpenWakeWord(tuple(features.values()), scorers, window, settings.trigger(files), resources.pop_all())


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
        self._samples = memoryview(bytearray(2 * CONTEXT + FRAME_BYTES))
        self._embeddings = memoryview(bytearray(window * EMBEDDING_BYTES))
        self._memory = [self._samples, self._embeddings, *(state for state, _ in self._states)]
        self._settle(window)

    def latest(self, window: int) -> memoryview:
        """Return a view of the last `window` embeddings, oldest first, which changes with each frame."""
        return self._embeddings[len(self._embeddings) - window * EMBEDDING_BYTES :]

    def feed(self, frame: memoryview) -> None:
        """Take the next 1280 samples."""
        self._samples[: 2 * CONTEXT] = self._samples[-2 * CONTEXT :]
        self._samples[2 * CONTEXT :] = frame
        self._pcm[:] = self._samples[_USED]
        self._network.invoke()
        for state, following in self._states:
            state[:] = following
        self._embeddings[:-EMBEDDING_BYTES] = self._embeddings[EMBEDDING_BYTES:]
        self._embeddings[-EMBEDDING_BYTES:] = self._embedding

    def reset(self) -> None:
        """Go back to where silence leads. Costs no inference."""
        for memory, silent in zip(self._memory, self._silence, strict=True):
            memory[:] = silent

    def close(self) -> None:
        """Free the model. May be called twice."""
        self._network.close()

    def _settle(self, window: int) -> None:
        for memory in self._memory:
            memory[:] = bytes(len(memory))
        silence = memoryview(bytes(FRAME_BYTES))
        for _ in range(EMBEDDING_FRAMES + 1):  # until nothing depends on what the memories held before
            self.feed(silence)
        self._embeddings[:] = bytes(self._embedding) * window  # more silence would lead to more of the same
        self._silence = [bytes(memory) for memory in self._memory]


class Scorer(NamedTuple):
    """A word's classifier and the embeddings that it looks at."""

    classifier: Classifier
    embeddings: memoryview

    def score(self) -> float:
        """Return the word's score at the latest frame."""
        return self.classifier.score(self.embeddings)


class OpenWakeWord(FramewiseEngine):
    """The engine.

    Args:
        features: every feature model in use.
        scorers: for each word, its classifier over the embeddings of one of them.
        window: how many embeddings the longest of them looks at.
        trigger: what makes a score a wake word.
        resources: frees the models.
    """

    def __init__(
        self,
        features: tuple[Features, ...],
        scorers: Mapping[str, Scorer],
        window: int,
        trigger: Trigger,
        resources: ExitStack,
    ) -> None:
        super().__init__(tuple(scorers), window, trigger)
        self._features = features
        self._scorers = scorers
        self._resources = resources

    def close(self) -> None:
        """Free the models. May be called twice; nothing can be detected afterwards."""
        self._resources.close()

    def _follow(self, frame: memoryview) -> None:
        for features in self._features:
            features.feed(frame)

    def _score(self, frame: memoryview) -> dict[str, float]:
        self._follow(frame)
        return {word: scorer.score() for word, scorer in self._scorers.items()}

    def _forget(self) -> None:
        for features in self._features:
            features.reset()
