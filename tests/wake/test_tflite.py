from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pipit.errors import ConfigError
from pipit.wake import tflite
from pipit.wake.classifier import NotAModel
from pipit.wake.models import FEATURES, installed
from pipit.wake.tflite import FLOAT32, Library, Network, TfliteClassifier


@pytest.fixture(scope="module")
def library() -> Library:
    return Library()


@pytest.fixture(scope="module")
def jarvis() -> Path:
    return installed().files["hey_jarvis"]


def test_describes_its_tensors(library: Library, jarvis: Path) -> None:
    network = Network(library, jarvis)
    (entry,), (score,) = network.inputs, network.outputs
    assert (entry.shape, entry.type, len(entry.data)) == ((1, 16, 96), FLOAT32, 16 * 96 * 4)
    assert (score.shape, score.type, len(score.data)) == ((1, 1), FLOAT32, 4)
    network.close()


def test_inputs_stay_from_run_to_run(library: Library) -> None:
    """The states of the feature model rely on it."""
    network = Network(library, FEATURES, xnnpack=True)
    for number, entry in enumerate(network.inputs):
        entry.data[:] = bytes([number]) * len(entry.data)
    network.invoke()
    assert all(bytes(entry.data) == bytes([number]) * len(entry.data) for number, entry in enumerate(network.inputs))
    network.close()


def test_where_the_processor_is_hidden_the_plain_kernels_compute_the_same() -> None:
    """As in a container without /sys on ARM, where XNNPACK gives no delegate."""
    hidden = Library()
    hidden.XNNPackDelegateCreate = lambda _: None
    found = []
    for library in (Library(), hidden):
        network = Network(library, FEATURES, xnnpack=True)
        chance = random.Random(1)
        for entry in network.inputs:
            count = len(entry.data) // 4
            entry.data[:] = struct.pack(f"{count}f", *(chance.uniform(-1, 1) for _ in range(count)))
        network.invoke()
        found.append([value for out in network.outputs for value in struct.unpack(f"{len(out.data) // 4}f", out.data)])
        network.close()
    assert found[1] == pytest.approx(found[0], abs=1e-4)


def test_a_closed_network_cannot_run(library: Library, jarvis: Path) -> None:
    network = Network(library, jarvis)
    network.close()
    network.close()
    with pytest.raises(ValueError, match="the network is closed"):
        network.invoke()
    with pytest.raises(ValueError, match="released"):
        network.inputs[0].data[:] = bytes(16 * 96 * 4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "it is not a TFLite file", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>404 Not Found</html>", "it is not a TFLite file", id="a web page"),
        pytest.param(b"\x1c\0\0\0TFL3", "it is damaged", id="the beginning only"),
        pytest.param(b"\x1c\0\0\0TFL3" + bytes(range(256)) * 8, "it is damaged", id="rubbish"),
    ],
)
def test_a_file_that_is_no_model(library: Library, tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "word.tflite"
    path.write_bytes(content)
    with pytest.raises(NotAModel, match=message):
        Network(library, path)


def test_a_model_cut_off_anywhere_is_refused(library: Library, tmp_path: Path) -> None:
    whole = installed().files["okay_nabu"].read_bytes()
    path = tmp_path / "word.tflite"
    for kept in range(8, len(whole), len(whole) // 20):
        path.write_bytes(whole[:kept])
        with pytest.raises(NotAModel, match=r"it is damaged"):
            Network(library, path)


def test_a_model_that_cannot_be_prepared_says_why(library: Library, jarvis: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The stock mel spectrogram wants its input's size set first. What TensorFlow Lite says goes into the error, not to stderr."""
    with pytest.raises(NotAModel, match=r"cannot run it \(.*Node number 3 \(CONV_2D\) failed to prepare\)"):
        Network(library, jarvis.with_name("melspectrogram.tflite"))
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_an_os_error(library: Library, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Network(library, tmp_path / "no.tflite")


def test_a_network_for_something_else_is_no_classifier(library: Library, jarvis: Path) -> None:
    message = r"it takes 1 x 76 x 32 x 1, not 1 x W x 96 float32"
    with pytest.raises(NotAModel, match=message):
        TfliteClassifier(library, jarvis.with_name("embedding_model.tflite"))


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigError, match=r"TensorFlow Lite's C library.*not installed: pip install pyopen-wakeword"):
        Library()


@pytest.mark.parametrize("content", [b"", b"\x7fELF for another machine"])
def test_a_library_for_another_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pyopen_wakeword/lib").mkdir(parents=True)
    (tmp_path / "pyopen_wakeword/__init__.py").touch()
    file = tmp_path / "pyopen_wakeword/lib/libtensorflowlite_c.so"
    file.write_bytes(content)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ConfigError, match=rf"{file} cannot be used \(.*\): reinstall it"):
        Library()


def test_a_library_without_the_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    import _ctypes  # some shared library

    monkeypatch.setattr(tflite, "locate", lambda: Path(_ctypes.__file__))
    with pytest.raises(ConfigError, match=r"cannot be used \(.*TfLite"):
        Library()


def test_a_name_that_was_not_bound(library: Library) -> None:
    with pytest.raises(AttributeError, match="TfLiteNonsense was not bound"):
        library.Nonsense  # noqa: B018


ENGINE = """
import logging, sys
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
from pipit.wake import openwakeword
engine = openwakeword.build(openwakeword.Settings())
engine.detect(bytes(32000))
engine.reset()
engine.close()
"""


def run(code: str) -> str:
    """Return what a new process prints; it must not write to stderr."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_the_packages_are_located_and_not_imported() -> None:
    """Nor is numpy, or anything else that a wake word does without."""
    names = "('numpy', 'pyopen_wakeword', 'openwakeword', 'onnxruntime')"
    assert run(f"{ENGINE}print([name for name in sys.modules if name.split('.')[0] in {names}])").endswith("\n[]\n")


def test_the_library_s_greeting_goes_to_the_log_and_not_to_stderr() -> None:
    assert "DEBUG:pipit.wake.tflite:INFO: Created TensorFlow Lite XNNPACK delegate" in run(ENGINE)
