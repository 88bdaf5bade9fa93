"""Finds wake word models in installed packages, without importing the packages.

The classifiers that others trained are under CC BY-NC-SA 4.0 (openWakeWord's README), which is why Pipit contains none: it reads
them where the owner installed them. What turns sound into embeddings is under the Apache Licence 2.0 and comes with Pipit.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipit.errors import ConfigError
from pipit.wake.classifier import Classifier, NotAModel
from pipit.wake.onnx import OnnxClassifier
from pipit.wake.tflite import Library, TfliteClassifier, package_folders

FEATURES = Path(__file__).with_name("features.tflite")
"""Mel spectrogram and speech embedding in one, 80 ms at a time; made by tests/wake/build_features.py."""

SUFFIXES = (".tflite", ".onnx")
"""In order of preference."""

_PACKAGES = (("pyopen_wakeword", "models"), ("openwakeword", "resources/models"))  # package and folder, in order of preference
_NOT_WORDS = ("melspectrogram", "embedding_model", "silero_vad")


class Model(NamedTuple):
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
        return f"{self.name:<12} {seconds:>7}  {self.licence:<38}  {self.source:<15}  {self.path}"


class Collection:
    """The wake words in some folders, by name. A name is the file's without ending and version: hey_jarvis_v0.1.onnx is hey_jarvis.

    Args:
        folders: where to look; the first of several files of one name counts.
        suffixes: endings of the files that count, in order of preference.
        remedy: what the owner does if nothing is there.
    """

    def __init__(self, folders: Iterable[Path], suffixes: tuple[str, ...], remedy: str) -> None:
        self.files: dict[str, Path] = {}
        self._suffixes = suffixes
        self._remedy = remedy
        for folder in folders:
            for path in _files(folder, suffixes):
                self.files.setdefault(_name(path), path)

    def find(self, model: str) -> tuple[str, Path]:
        """Return a word's name and file.

        Args:
            model: a name of the collection, or the path of any model file.

        Raises:
            ConfigError: there is none; lists what there is.
        """
        if "/" in model or model.endswith(SUFFIXES):
            path = Path(model).absolute()
            self._check(path)
            return _name(path), path
        if model not in self.files:
            raise ConfigError(self._unknown(model))
        return model, self.files[model]

    def _check(self, path: Path) -> None:
        if path.suffix not in self._suffixes:
            raise ConfigError(f"{path} is no wake word model for this engine: its name must end in {' or '.join(self._suffixes)}")
        try:
            there = path.is_file()
        except PermissionError as error:
            remedy = "keep it beside the configuration; the service sees nothing below /home"
            raise ConfigError(f"{path}: this user may not look there: {remedy}") from error
        if not there:
            raise ConfigError(f"{path} does not exist{_neighbours(path, self._suffixes)}")

    def _unknown(self, model: str) -> str:
        names = tuple(sorted(self.files))
        if not names:
            return f'no model "{model}", because none is installed: {self._remedy}'
        listed = ", ".join(names)
        return f'no model "{model}"{_did_you_mean(model, names)} installed are {listed}; a model of your own is given by its path'


def installed() -> Collection:
    """Return the words of all installed packages."""
    folders = (root / folder for package, folder in _PACKAGES for root in package_folders(package))
    return Collection(folders, SUFFIXES, "pip install pyopen-wakeword")


def models() -> tuple[Model, ...]:
    """List what is installed: the words by name, then Pipit's own feature model.

    Raises:
        ConfigError: TensorFlow Lite's library is not installed.
    """
    library = Library()
    words = (
        Model(name, path, _window(path, library), "CC BY-NC-SA 4.0 (non-commercial use)", _package(path))
        for name, path in sorted(installed().files.items())
    )
    return (*words, Model("(features)", FEATURES, None, "Apache-2.0", "pipit"))


def locate(models: Sequence[str], collection: Collection) -> dict[str, Path]:
    """Return name -> file of the models that the owner listed, in their order.

    Raises:
        ConfigError: there are none, or some of them do not exist or are listed twice; every such problem at once.
    """
    if not models:
        raise ConfigError('wake.words: there are none, so nothing could wake Pipit; if that is meant, use "engine: off"')
    files: dict[str, Path] = {}
    problems = []
    for index, model in enumerate(models):
        try:
            name, path = collection.find(model)
            if name in files:
                raise ConfigError(f'"{name}" is listed twice; a file of your own is called by its name without the ending')
            files[name] = path
        except ConfigError as error:
            problems.append(f"wake.words[{index}].model: {error}")
    if problems:
        raise ConfigError(*problems)
    return files


def load(path: Path, library: Library) -> Classifier:
    """Return the classifier in a file.

    Raises:
        ConfigError: it cannot be run, or needs a package that is not installed.
    """
    try:
        return OnnxClassifier(path) if path.suffix == ".onnx" else TfliteClassifier(library, path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except NotAModel as error:
        raise ConfigError(f"{path} is no wake word model: {error}") from error


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the model files of a folder: by ending in the order given, then by name; none if there is no such folder."""
    found = [path for suffix in suffixes for path in sorted(folder.glob(f"*{suffix}"))]
    return [path for path in found if not path.stem.startswith(_NOT_WORDS)]


def _name(path: Path) -> str:
    return re.sub(r"_v\d+(\.\d+)*$", "", path.stem)


def _package(path: Path) -> str:
    return next(package.replace("_", "-") for package, _ in _PACKAGES if package in path.parts)


def _window(path: Path, library: Library) -> int | None:
    try:
        classifier = load(path, library)
    except ConfigError:
        return None
    classifier.close()
    return classifier.window


def _neighbours(path: Path, suffixes: tuple[str, ...]) -> str:
    if not path.parent.is_dir():
        return f", nor does the folder {path.parent}"
    names = tuple(each.name for each in _files(path.parent, suffixes))
    if not names:
        return f"; there is no model in {path.parent}"
    return f"{_did_you_mean(path.name, names)} {path.parent} has {', '.join(names)}"


def _did_you_mean(word: str, words: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(word.lower().replace("-", "_").replace(" ", "_"), words, n=1)
    return f'; did you mean "{close[0]}"?' if close else ";"
