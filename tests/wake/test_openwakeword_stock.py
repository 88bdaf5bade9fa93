from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from pipit.errors import ConfigError
from pipit.wake import Engine, openwakeword, openwakeword_stock
from pipit.wake.framewise import Word
from pipit.wake.openwakeword_stock import Settings
from tests.speech import Samples, blocks, missing_tools, say, timeline

pytest.importorskip("onnxruntime")


RELEASES = ["openwakeword_0_4", "openwakeword_0_6", *(["installed"] if importlib.util.find_spec("openwakeword") else [])]


@pytest.fixture(params=RELEASES)
def package(request: pytest.FixtureRequest) -> None:
    """The package in versions 0.4.0 and 0.6.0, and in the version that is installed, if one is."""
    if request.param != "installed":
        request.getfixturevalue(request.param)


@pytest.fixture
def engine(package: None, stock_models: Path) -> Engine:
    return openwakeword_stock.build(Settings(words=(Word("hey_jarvis"), Word("alexa")), folder=str(stock_models)))


def test_hears_what_our_own_engine_hears_from_the_first_frame_on(engine: Engine, sounds: Samples) -> None:
    own = openwakeword.build(openwakeword.Settings(words=(openwakeword.Word("hey_jarvis"), openwakeword.Word("alexa"))))
    sound = sounds[16000 * 8 : 16000 * 20]
    assert engine.words == own.words
    heard = []
    for block in blocks(sound, [320, 1, 4000]):
        theirs, ours = engine.detect(block), own.detect(block)
        assert engine.scores() == pytest.approx(own.scores(), abs=1e-5)
        if theirs or ours:
            assert theirs is not None
            assert ours is not None
            assert theirs.word == ours.word
            heard.append(theirs.word)
    assert "hey_jarvis" in heard
    engine.close()
    engine.close()


@pytest.mark.skipif(missing_tools() is not None, reason=str(missing_tools()))
def test_reset_gives_the_same_scores_again(engine: Engine) -> None:
    sound = timeline([(1.0, say("hey jarvis", "flite:slt"))], 3)

    def scores() -> list[dict[str, float]]:
        found = []
        for block in blocks(sound, [1280]):
            engine.detect(block)
            found.append(engine.scores())
        return found

    first = scores()
    assert max(score["hey_jarvis"] for score in first) > 0.5
    engine.reset()
    assert engine.scores() == {"hey_jarvis": 0.0, "alexa": 0.0}
    assert scores() == first


def test_silence_is_no_word(engine: Engine) -> None:
    assert engine.detect(np.zeros(32000, np.int16)) is None


@pytest.mark.usefixtures("package")
def test_a_folder_without_the_feature_models(tmp_path: Path) -> None:
    message = rf"wake.folder: melspectrogram.onnx and embedding_model.onnx are not in {tmp_path}: .*download_models"
    with pytest.raises(ConfigError, match=message):
        openwakeword_stock.build(Settings(folder=str(tmp_path)))


@pytest.mark.usefixtures("package")
def test_a_word_that_is_not_there(stock_models: Path) -> None:
    with pytest.raises(ConfigError, match=r'wake.words\[0\].model: no model "hey_jarvi"; did you mean "hey_jarvis"\?'):
        openwakeword_stock.build(Settings(words=(Word("hey_jarvi"),), folder=str(stock_models)))


@pytest.mark.usefixtures("package")
def test_a_file_that_is_no_model(stock_models: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_text("<html>not found</html>")
    with pytest.raises(ConfigError, match=rf"openwakeword cannot load {path}: "):
        openwakeword_stock.build(Settings(words=(Word(str(path)),), folder=str(stock_models)))


@pytest.mark.usefixtures("package")
def test_a_model_with_several_scores(stock_models: Path) -> None:
    with pytest.raises(ConfigError, match=r"timer_v0.1: gives more than one score"):
        openwakeword_stock.build(Settings(words=(Word("timer"),), folder=str(stock_models)))


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openwakeword", None)
    with pytest.raises(ConfigError, match=r"needs the openwakeword package \(.*\): sudo make install EXTRAS=stock"):
        openwakeword_stock.build(Settings())
