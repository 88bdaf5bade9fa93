"""The engine's scores are openWakeWord's own, to 1e-5, from the 26th frame on: before it, theirs depend on their beginning."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.wake import openwakeword, tflite
from pipit.wake.framewise import FRAME
from pipit.wake.models import installed
from pipit.wake.openwakeword import Settings, Word
from tests.speech import Samples, blocks
from tests.wake import stock

SETTLED = 26
TOLERANCE = 1e-5

Scores = NDArray[np.float64]

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider'")


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Reference:
    """openWakeWord's published recipe on onnxruntime: every 80 ms, 1760 samples -> mel frames -> the last 76 -> an embedding."""

    def __init__(self, models: Path) -> None:
        self._mel = session(models / "melspectrogram.onnx")
        self._embedding = session(models / "embedding_model.onnx")

    def mel_windows(self, samples: Samples) -> Iterator[NDArray[np.float32]]:
        """Yield the last 76 mel frames at the end of each frame."""
        mel = np.ones((76, 32), np.float32)
        heard = np.concatenate([np.zeros(480, np.int16), samples]).astype(np.float32)
        for start in range(0, len(samples) - FRAME + 1, FRAME):
            (new,) = self._mel.run(None, {"input": heard[None, start : start + 1760]})
            mel = np.concatenate([mel, new[0, 0] / 10 + 2])[-76:]
            yield mel

    def embeddings(self, samples: Samples) -> NDArray[np.float32]:
        """Return one row of 96 per frame."""
        windows = (mel[None, :, :, None] for mel in self.mel_windows(samples))
        return np.stack([self._embedding.run(None, {"input_1": window})[0].reshape(96) for window in windows])


@pytest.fixture(scope="module")
def reference(stock_models: Path) -> Reference:
    return Reference(stock_models)


@pytest.fixture(scope="module")
def reference_embeddings(reference: Reference, sounds: Samples) -> NDArray[np.float32]:
    return reference.embeddings(sounds)


def classify_onnx(path: Path, embeddings: NDArray[np.float32]) -> Scores:
    classifier = session(path)
    name, window = classifier.get_inputs()[0].name, classifier.get_inputs()[0].shape[1]
    scores = np.full(len(embeddings), np.nan)
    for frame in range(window - 1, len(embeddings)):
        scores[frame] = classifier.run(None, {name: embeddings[None, frame + 1 - window : frame + 1]})[0].item()
    return scores


def our_scores(word: Word, samples: Samples) -> Scores:
    """Return the score of every frame."""
    engine = openwakeword.build(Settings(words=(word,)))
    scores = []
    for block in blocks(samples, [FRAME]):
        engine.detect(block)
        scores += engine.scores().values()
    engine.close()
    return np.array(scores[: len(samples) // FRAME])


def worst(ours: Scores, theirs: Scores, settled: int = SETTLED) -> float:
    assert ours.shape == theirs.shape
    return float(np.max(np.abs(ours - theirs)[settled:]))


@pytest.mark.parametrize(("word", "file"), [("hey_jarvis", "hey_jarvis_v0.1.onnx"), ("alexa", "alexa_v0.1.onnx")])
def test_scores_equal_the_stock_onnx_models(
    word: str, file: str, stock_models: Path, sounds: Samples, reference_embeddings: NDArray[np.float32]
) -> None:
    assert len(sounds) > 60 * 16000
    theirs = classify_onnx(stock_models / file, reference_embeddings)
    assert np.nanmax(theirs) > 0.9, "the sounds must contain the word"
    assert worst(our_scores(Word(word), sounds), theirs) < TOLERANCE


@pytest.mark.parametrize("file", ["hey_marvin_v0.1.onnx", "hey_mycroft_v0.1.onnx", "weather_v0.1.onnx"])
def test_onnx_classifiers_give_the_same_scores(
    file: str, stock_models: Path, sounds: Samples, reference_embeddings: NDArray[np.float32]
) -> None:
    """`weather` looks at 22 embeddings instead of 16."""
    theirs = classify_onnx(stock_models / file, reference_embeddings)
    assert worst(our_scores(Word(str(stock_models / file)), sounds), theirs, settled=32) < TOLERANCE


@pytest.mark.parametrize("release", ["openwakeword_0_4", "openwakeword_0_6"])
def test_scores_equal_the_package(stock_models: Path, sounds: Samples, release: str, request: pytest.FixtureRequest) -> None:
    """openwakeword's own Model.predict. tests/bench/bench_equality.py does the same with a quarter of an hour of other sounds."""
    package = stock.model(request.getfixturevalue(release), ("hey_jarvis", "alexa"))
    engine = openwakeword.build(Settings(words=(Word("hey_jarvis"), Word("alexa"))))
    ours, theirs = [], []
    for block in blocks(sounds[: len(sounds) // FRAME * FRAME], [FRAME]):
        engine.detect(block)
        ours.append([engine.scores()["hey_jarvis"], engine.scores()["alexa"]])
        predicted = package.predict(block)
        theirs.append([predicted["hey_jarvis_v0.1"], predicted["alexa_v0.1"]])
    assert worst(np.array(ours), np.array(theirs)) < TOLERANCE


def test_okay_nabu_is_heard_with_the_features_that_it_was_trained_on(reference: Reference, sounds: Samples) -> None:
    """Stock embedding_model.tflite, which leaves out one rectifier, and the stock classifier."""
    library = tflite.Library()
    path = installed().files["okay_nabu"]
    embed = tflite.Network(library, path.with_name("embedding_model.tflite"), xnnpack=True)
    classify = tflite.Network(library, path)
    latest, theirs = np.zeros((16, 96), np.float32), []
    for mel in reference.mel_windows(sounds):
        embed.inputs[0].data[:] = mel.tobytes()
        embed.invoke()
        latest = np.concatenate([latest[1:], np.frombuffer(embed.outputs[0].data, np.float32)[None]])
        classify.inputs[0].data[:] = latest.tobytes()
        classify.invoke()
        theirs.append(struct.unpack("f", classify.outputs[0].data)[0])
    embed.close()
    classify.close()
    assert max(theirs) > 0.9, "the sounds must contain the word"
    assert worst(our_scores(Word("okay_nabu"), sounds), np.array(theirs)) < TOLERANCE
    assert worst(our_scores(Word("okay_nabu", features="onnx"), sounds), np.array(theirs)) > 0.01


def test_block_sizes_do_not_matter(sounds: Samples) -> None:
    by_frame = our_scores(Word(), sounds)
    engine = openwakeword.build(Settings())
    fed = 0
    for block in blocks(sounds, [1, 7, 320, 1279, 1281, 4096]):
        engine.detect(block)
        fed += len(block)
        if fed >= FRAME:
            assert engine.scores()["hey_jarvis"] == by_frame[fed // FRAME - 1]


def test_words_side_by_side_score_as_alone(sounds: Samples) -> None:
    together = (Word("hey_jarvis"), Word("alexa"), Word("okay_nabu"))
    engine = openwakeword.build(Settings(words=together))
    rows = []
    for block in blocks(sounds[: len(sounds) // FRAME * FRAME], [FRAME]):
        engine.detect(block)
        rows.append([engine.scores()[word.model] for word in together])
    for column, word in enumerate(together):
        assert np.array_equal(np.array(rows)[:, column], our_scores(word, sounds))
