from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from pipit.errors import ConfigError
from pipit.wake.models import FEATURES, SUFFIXES, Collection, installed, load, locate, models
from pipit.wake.tflite import Library


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder with four words, one of them twice, and what belongs to openWakeWord but is no word."""
    names = ("hey_pipit.tflite", "hey_pipit.onnx", "alexa_v0.1.onnx", "timer_v1.2.3.tflite", "hey_v.onnx", "notes.txt")
    for name in (*names, "melspectrogram.onnx", "embedding_model.tflite", "silero_vad.onnx"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def collection(shelf: Path) -> Collection:
    return Collection([shelf / "missing", shelf], SUFFIXES, "pip install birds")


def test_names_are_the_files_without_ending_and_version(collection: Collection, shelf: Path) -> None:
    assert collection.files == {
        "hey_pipit": shelf / "hey_pipit.tflite",  # preferred to the .onnx
        "alexa": shelf / "alexa_v0.1.onnx",
        "timer": shelf / "timer_v1.2.3.tflite",
        "hey_v": shelf / "hey_v.onnx",
    }


def test_the_first_folder_counts(collection: Collection, shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = tmp_path_factory.mktemp("first")
    (first / "alexa.tflite").touch()
    assert Collection([first, shelf], SUFFIXES, "").files["alexa"] == first / "alexa.tflite"


def test_find_by_name(collection: Collection, shelf: Path) -> None:
    assert collection.find("alexa") == ("alexa", shelf / "alexa_v0.1.onnx")


def test_find_by_path(collection: Collection, shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ("hey_pipit", shelf / "hey_pipit.onnx")
    assert collection.find(str(shelf / "hey_pipit.onnx")) == expected
    monkeypatch.chdir(shelf)
    assert collection.find("hey_pipit.onnx") == expected
    assert collection.find("./hey_pipit.onnx") == expected


def test_a_model_where_this_user_may_not_look(collection: Collection, closed: Path) -> None:
    with pytest.raises(ConfigError) as error:
        collection.find(f"{closed}/hey_pipit.onnx")
    assert error.value.problems == (
        f"{closed}/hey_pipit.onnx: this user may not look there: "
        "keep it beside the configuration; the service sees nothing below /home",
    )


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(
            "hey pipt",
            'no model "hey pipt"; did you mean "hey_pipit"? installed are alexa, hey_pipit, hey_v, timer; '
            "a model of your own is given by its path",
            id="a typing error",
        ),
        pytest.param(
            "computer",
            'no model "computer"; installed are alexa, hey_pipit, hey_v, timer; a model of your own is given by its path',
            id="unknown",
        ),
        pytest.param(
            "{shelf}/hey_pipits.onnx",
            '{shelf}/hey_pipits.onnx does not exist; did you mean "hey_pipit.onnx"? '
            "{shelf} has hey_pipit.tflite, timer_v1.2.3.tflite, alexa_v0.1.onnx, hey_pipit.onnx, hey_v.onnx",
            id="a path with a typing error",
        ),
        pytest.param(
            "{shelf}/none/x.onnx", "{shelf}/none/x.onnx does not exist, nor does the folder {shelf}/none", id="a path into nowhere"
        ),
        pytest.param(
            "{shelf}/notes.txt",
            "{shelf}/notes.txt is no wake word model for this engine: its name must end in .tflite or .onnx",
            id="another kind of file",
        ),
    ],
)
def test_what_is_not_there(collection: Collection, shelf: Path, model: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        collection.find(model.format(shelf=shelf))
    assert str(caught.value) == message.format(shelf=shelf)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        Collection([], SUFFIXES, "").find(str(tmp_path / "a.onnx"))
    assert str(caught.value) == f"{tmp_path}/a.onnx does not exist; there is no model in {tmp_path}"


def test_an_engine_may_take_one_kind_of_file_only(shelf: Path) -> None:
    onnx_only = Collection([shelf], (".onnx",), "")
    assert onnx_only.files["hey_pipit"] == shelf / "hey_pipit.onnx"
    with pytest.raises(ConfigError, match=r"hey_pipit.tflite is no wake word model for this engine: its name must end in \.onnx$"):
        onnx_only.find(str(shelf / "hey_pipit.tflite"))


def test_without_any_model_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ConfigError) as caught:
        installed().find("hey_jarvis")
    assert str(caught.value) == 'no model "hey_jarvis", because none is installed: pip install pyopen-wakeword'


def test_locate_keeps_the_order(collection: Collection) -> None:
    assert list(locate(["timer", "alexa", "hey_v"], collection)) == ["timer", "alexa", "hey_v"]


def test_locate_reports_every_problem(collection: Collection, shelf: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        locate(["alexa", "computer", str(shelf / "alexa_v0.1.onnx"), "/none.onnx"], collection)
    first, second, third = caught.value.problems
    assert first.startswith('wake.words[1].model: no model "computer"')
    assert second == 'wake.words[2].model: "alexa" is listed twice; a file of your own is called by its name without the ending'
    assert third.startswith("wake.words[3].model: /none.onnx does not exist")


def test_locate_needs_a_word(collection: Collection) -> None:
    with pytest.raises(ConfigError, match=r'wake.words: there are none, so nothing could wake Pipit; .*use "engine: off"'):
        locate([], collection)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_load_names_the_file_that_is_no_model(tmp_path: Path, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"mine{suffix}"
    path.write_text("<html>not found</html>")
    with pytest.raises(ConfigError, match=rf"{path} is no wake word model: "):
        load(path, Library())


def test_load_names_the_folder_that_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.tflite"
    path.mkdir()
    with pytest.raises(ConfigError, match=rf"{path} cannot be read: Is a directory"):
        load(path, Library())


def test_models_shows_what_is_installed_and_under_which_licence() -> None:
    *words, features = models()
    assert {"alexa", "hey_jarvis", "hey_mycroft", "hey_rhasspy", "okay_nabu"} <= {word.name for word in words}
    assert all(word.licence.startswith("CC BY-NC-SA 4.0") for word in words)
    assert (features.path, features.licence, features.source) == (FEATURES, "Apache-2.0", "pipit")
    jarvis = next(word for word in words if word.name == "hey_jarvis")
    assert (jarvis.window, jarvis.source) == (16, "pyopen-wakeword")
    line = str(jarvis)
    assert all(part in line for part in ("hey_jarvis", "1.28 s", "CC BY-NC-SA 4.0 (non-commercial use)", str(jarvis.path)))


def test_models_of_the_stock_package_are_found_too(stock_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(stock_package)])
    importlib.invalidate_caches()
    found = {model.name: model for model in models()}
    assert (found["hey_marvin"].source, found["hey_marvin"].path.suffix) == ("openwakeword", ".onnx")
    assert found["hey_jarvis"].source == "pyopen-wakeword"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert {model.name: model for model in models()}["hey_marvin"].window is None
