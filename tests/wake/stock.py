"""The openwakeword package: what `features.tflite` is made from and what the engine is compared with.

0.4.0 is the last release with its models inside, 0.6.0 the last of all; the models are the same. The wheels are fetched with pip
and unpacked into `build/`, never installed: the package would bring 350 MB of scikit-learn and SciPy.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

RELEASES = {
    "0.4.0": "2c353f49a35d384507403efde3db439353d8281a52d08a0e42a5b493e5145075",
    "0.6.0": "6f423a4e3ae9dd0e3cd12b50ff8abf69679f687b4ab349d7c82c021c0e2abc9d",
}
"""Version -> SHA-256 of its wheel."""

BUILD = Path(__file__).parents[2] / "build"


class Unavailable(Exception):
    """The wheel is not in `build/` and cannot be fetched."""


def package(version: str = "0.4.0") -> Path:
    """Return the folder that holds the unpacked `openwakeword` package; fetches it the first time.

    Raises:
        Unavailable: neither fetched before nor to be had now; says why.
    """
    folder = BUILD / f"openwakeword-{version}"
    if not folder.exists():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
            wheel = _fetch(version, Path(scratch))
            unpacked = Path(scratch) / "unpacked"
            zipfile.ZipFile(wheel).extractall(unpacked)
            unpacked.rename(folder)
    return folder


def models() -> Path:
    """Return the folder with the ONNX models.

    Raises:
        Unavailable: as `package`.
    """
    return package() / "openwakeword" / "resources" / "models"


@contextmanager
def imported(version: str) -> Iterator[ModuleType]:
    """Import the package, without what it has for training and downloading: scikit-learn, SciPy, requests, tqdm.

    Raises:
        Unavailable: as `package`.
    """
    folder = str(package(version))
    before = {name: module for name, module in sys.modules.items() if _affected(name)}
    _forget()
    left_out = {"openwakeword.custom_verifier_model": "train_custom_verifier", "tqdm": "tqdm", "requests": "get"}
    for name, attribute in left_out.items():
        sys.modules[name] = module = ModuleType(name)
        setattr(module, attribute, None)
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module("openwakeword")
    finally:
        sys.path.remove(folder)
        _forget()
        sys.modules.update(before)


def model(package: ModuleType, words: Sequence[str]) -> Any:
    """Return an `openwakeword.Model` of either release, on ONNX, for the stock models of these words."""
    folder = models()
    files = [str(folder / f"{word}_v0.1.onnx") for word in words]
    mel, embedding = (str(folder / f"{name}.onnx") for name in ("melspectrogram", "embedding_model"))
    if hasattr(package, "FEATURE_MODELS"):
        options = {"inference_framework": "onnx", "melspec_model_path": mel, "embedding_model_path": embedding}
        return package.Model(wakeword_models=files, **options)
    return package.Model(wakeword_model_paths=files)


def _affected(name: str) -> bool:
    return name.split(".")[0] in ("openwakeword", "tqdm", "requests")


def _forget() -> None:
    for name in [name for name in sys.modules if _affected(name)]:
        del sys.modules[name]


def _fetch(version: str, folder: Path) -> Path:
    pinned = folder / "requirements.txt"
    pinned.write_text(f"openwakeword=={version} --hash=sha256:{RELEASES[version]}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    done = subprocess.run([*pip, "--dest", str(folder), "-r", str(pinned)], capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise Unavailable(f"pip cannot fetch openwakeword {version}: {done.stderr.strip() or 'no wheel came'}")
    return wheels[0]
