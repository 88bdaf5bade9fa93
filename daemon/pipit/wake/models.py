"""Finds wake word models in installed packages, without importing the packages.

The classifiers that others trained are under CC BY-NC-SA 4.0 (openWakeWord's README), which is why Pipit contains none: it reads
them where the owner installed them. What turns sound into embeddings is under the Apache Licence 2.0 and comes with Pipit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipit.errors import ConfigError
from pipit.wake import tflite
from pipit.wake.classifier import Classifier, NotAModel
from pipit.wake.onnx import OnnxClassifier

FEATURES = Path(__file__).with_name("features.tflite")
"""Mel spectrogram and speech embedding in one, 80 ms at a time; made by tests/wake/build_features.py."""

SUFFIXES = (".tflite", ".onnx")
"""In order of preference."""

_FOLDERS = (("pyopen_wakeword", "models"), ("openwakeword", "resources/models"))  # package and folder, in order of preference
_NOT_WORDS = ("melspectrogram", "embedding_model", "silero_vad")
_INSTALL = "pip install pyopen-wakeword"


@dataclass(frozen=True)
class Model:
    """A model file."""

    name: str
    """What `wake.words[].model` calls it."""
    path: Path
    window: int | None
    """Embeddings that it looks at, one for every 80 ms; None where that needs a package that is not installed."""
    licence: str
    source: str
    """The package that it comes from."""

    def __str__(self) -> str:
        seconds = f"{self.window * 0.08:.2f} s" if self.window else "-"
        return f"{self.name:<12} {seconds:>7}  {self.licence:<42}  {self.source:<15}  {self.path}"


def models() -> tuple[Model, ...]:
    """List what is installed: the words by name, each where `find` finds it, then Pipit's own feature model."""
    library = tflite.Library()
    words = (
        Model(name, path, _window(path, library), "CC BY-NC-SA 4.0 (not for commercial use)", package.replace("_", "-"))
        for name, (path, package) in sorted(_installed().items())
    )
    return (*words, Model("(features)", FEATURES, None, "Apache-2.0", "pipit"))


def find(model: str) -> tuple[str, Path]:
    """Return a word's name and file.

    Args:
        model: an installed model's name, or a path.

    Raises:
        ConfigError: there is none; lists what there is.
    """
    if "/" not in model and not model.endswith(SUFFIXES):
        installed = _installed()
        if model in installed:
            return model, installed[model][0]
        raise ConfigError(_unknown(model, tuple(sorted(installed))))
    path = Path(model).expanduser().absolute()
    if path.suffix not in SUFFIXES:
        raise ConfigError(f"{path} is no wake word model: its name must end in {' or '.join(SUFFIXES)}")
    if not path.is_file():
        raise ConfigError(f"{path} does not exist{_neighbours(path)}")
    return _name(path), path


def load(path: Path, library: tflite.Library) -> Classifier:
    """Return the classifier in a file.

    Raises:
        ConfigError: it cannot be run, or needs a package that is not installed.
    """
    try:
        return OnnxClassifier(path) if path.suffix == ".onnx" else tflite.TfliteClassifier(library, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except NotAModel as error:
        raise ConfigError(f"{path} is no wake word model: {error}") from error


def _installed() -> dict[str, tuple[Path, str]]:
    """Return name -> file and package; the first of several of the same name."""
    found: dict[str, tuple[Path, str]] = {}
    for package, folder in _FOLDERS:
        for path in _files(package, folder):
            found.setdefault(_name(path), (path, package))
    return found


def _files(package: str, folder: str) -> Iterator[Path]:
    for root in tflite.package_folders(package):
        for suffix in SUFFIXES:
            for path in sorted((root / folder).glob(f"*{suffix}")):
                if not path.stem.startswith(_NOT_WORDS):
                    yield path


def _name(path: Path) -> str:
    return re.sub(r"_v\d+(\.\d+)*$", "", path.stem)


def _window(path: Path, library: tflite.Library) -> int | None:
    try:
        classifier = load(path, library)
    except ConfigError:
        return None
    classifier.close()
    return classifier.window


def _unknown(model: str, names: tuple[str, ...]) -> str:
    if not names:
        return f'no model is installed, so there is no "{model}": {_INSTALL}'
    listed = ", ".join(names)
    return f'no model "{model}"{_did_you_mean(model, names)} installed are {listed}; a model of your own is given by its path'


def _neighbours(path: Path) -> str:
    names = tuple(sorted(each.name for suffix in SUFFIXES for each in path.parent.glob(f"*{suffix}")))
    if not names:
        return f"; there is no model in {path.parent}" if path.parent.is_dir() else f", nor does the folder {path.parent}"
    return f"{_did_you_mean(path.name, names)} {path.parent} has {', '.join(names)}"


def _did_you_mean(word: str, words: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word.lower().replace("-", "_").replace(" ", "_"), words, n=1)
    return f'; did you mean "{close[0]}"?' if close else ";"
