from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipit.errors import ConfigError
from pipit.wake import openwakeword
from pipit.wake.classifier import NotAModel
from pipit.wake.onnx import OnnxClassifier
from pipit.wake.openwakeword import Settings, Word

pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a model that answers with the mean of its input."""

    def model(
        shape: tuple[int | str, ...] = (1, 16, 96), type_: int = onnx.TensorProto.FLOAT, outputs: int = 1, stem: str = "mine"
    ) -> Path:
        axes = list(range(1, len(shape)))
        nodes = [onnx.helper.make_node("ReduceMean", ["x"], ["mean"], axes=axes, keepdims=0)]
        nodes.append(onnx.helper.make_node("Reshape", ["mean", "shape"], ["one"]))
        nodes.append(onnx.helper.make_node("Concat", ["one"] * outputs, ["score"], axis=1))
        graph = onnx.helper.make_graph(
            nodes,
            "mean",
            [onnx.helper.make_tensor_value_info("x", type_, shape)],
            [onnx.helper.make_tensor_value_info("score", type_, (1, outputs))],
            [onnx.numpy_helper.from_array(np.array([1, 1], np.int64), "shape")],
        )
        path = tmp_path / f"{stem}.onnx"
        onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8), path)
        return path

    return model


@pytest.mark.parametrize("window", [16, 22, 34])
def test_window_and_score(write: Write, window: int) -> None:
    classifier = OnnxClassifier(write((1, window, 96)))
    embeddings = np.random.default_rng(1).random((window, 96), np.float32)
    assert classifier.window == window
    assert classifier.score(memoryview(embeddings.tobytes())) == pytest.approx(embeddings.mean())
    classifier.close()
    classifier.close()


def test_the_number_of_sounds_at_once_may_be_open(write: Write) -> None:
    assert OnnxClassifier(write(("batch", 16, 96))).window == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"shape": (1, 40)}, r"it takes 1 x 40, not 1 x W x 96 float32", id="two dimensions"),
        pytest.param({"shape": (1, 16, 40)}, r"it takes 1 x 16 x 40, not", id="other features"),
        pytest.param({"shape": (1, "frames", 96)}, r"it takes 1 x frames x 96, not", id="open window"),
        pytest.param({"type_": onnx.TensorProto.DOUBLE}, r"it takes 1 x 16 x 96 that are not float32", id="doubles"),
        pytest.param({"outputs": 7}, r"it gives 1 x 7, where Pipit needs a single score", id="several scores"),
    ],
)
def test_models_for_something_else(write: Write, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(NotAModel, match=message):
        OnnxClassifier(write(**arguments))


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(NotAModel, match=r"onnxruntime cannot load it: .*Protobuf"):
        OnnxClassifier(path)


def test_an_own_model_beside_an_installed_one(write: Write) -> None:
    """34 embeddings beside 16: both see the latest."""
    engine = openwakeword.build(Settings(words=(Word("hey_jarvis"), Word(str(write((1, 34, 96), stem="hey_pipit_v2"))))))
    assert engine.words == ("hey_jarvis", "hey_pipit")
    sound = np.random.default_rng(2).integers(-9000, 9000, 5 * 16000).astype(np.int16)
    alone = openwakeword.build(Settings())
    engine.detect(sound)
    alone.detect(sound)
    assert engine.scores()["hey_jarvis"] == alone.scores()["hey_jarvis"]
    assert engine.scores()["hey_pipit"] != 0
    engine.close()
    alone.close()


def test_without_onnxruntime_the_remedy_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"/mine.onnx needs onnxruntime .*: sudo make install EXTRAS=onnx"):
        openwakeword.build(Settings(words=(Word(str(write())),)))
