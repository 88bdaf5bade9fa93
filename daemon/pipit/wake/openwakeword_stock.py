"""The openwakeword package as it is: the yardstick for `openwakeword`, at seven times its cost and 350 MB of disk.

Works with 0.6.0 (Python up to 3.11; its owner has to make it fetch its models once) and 0.4.0 (any Python; models inside). Runs on
onnxruntime, because tflite-runtime, which 0.6.0 would use by itself, cannot be loaded next to numpy 2.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipit.core.options import option
from pipit.errors import ConfigError
from pipit.wake import Engine, framewise
from pipit.wake.framewise import EMBEDDING_FRAMES, FRAME_BYTES, FramewiseEngine, Trigger
from pipit.wake.models import Collection, locate

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODELS_REMEDY = 'python -c "import openwakeword.utils as u; u.download_models()"'

_FEATURES = ("melspectrogram.onnx", "embedding_model.onnx")


@dataclass(frozen=True)
class Settings(framewise.Settings):
    """The openwakeword package."""

    folder: str | None = option(
        None,
        "Folder with melspectrogram.onnx, embedding_model.onnx and the words' .onnx files. Null: where the package keeps its own.",
        example="/var/lib/pipit/openwakeword",
        paths=("",),
    )


def build(settings: Settings) -> Engine:
    """Import the package and load the models: 1 to 7 s.

    Raises:
        ConfigError: the package or a model is missing or unusable.
    """
    package = _package()
    folder = Path(settings.folder or Path(package.__file__).parent / "resources/models").absolute()
    missing = [name for name in _FEATURES if not os.path.isfile(folder / name)]
    if missing:
        raise ConfigError(f"wake.folder: {' and '.join(missing)} are not in {folder}: {_MODELS_REMEDY}")
    files = locate([word.model for word in settings.words], Collection([folder], (".onnx",), _MODELS_REMEDY))
    model = _model(package, folder, list(files.values()))
    return StockOpenWakeWord(model, {name: path.stem for name, path in files.items()}, settings.trigger(files))


class StockOpenWakeWord(FramewiseEngine):
    """The engine.

    Args:
        model: an openwakeword.Model.
        keys: for each word, what the package calls it.
        trigger: what makes a score a wake word.
    """

    def __init__(self, model: Any, keys: Mapping[str, str], trigger: Trigger) -> None:
        super().__init__(tuple(keys), max(model.model_inputs.values()), trigger)
        self._model = model
        self._keys = keys
        self._forget()

    def close(self) -> None:
        """Free the models. May be called twice; nothing can be detected afterwards."""
        self._model = None

    def _follow(self, frame: memoryview) -> None:
        self._score(frame)

    def _score(self, frame: memoryview) -> dict[str, float]:
        import numpy as np

        predicted = self._model.predict(np.frombuffer(frame, np.int16))
        return {word: float(predicted[key]) for word, key in self._keys.items()}

    def _forget(self) -> None:
        """Feed silence until nothing is left of what was heard, or of the random sound that the package begins with."""
        silence = memoryview(bytes(FRAME_BYTES))
        for _ in range(max(self._model.model_inputs.values()) + EMBEDDING_FRAMES):
            self._score(silence)


def _package() -> Any:
    try:
        import openwakeword
    except ImportError as error:
        raise ConfigError(
            f'"openwakeword-stock" needs the openwakeword package ({error}): sudo make install EXTRAS=stock'
        ) from error
    return openwakeword


def _model(package: Any, folder: Path, files: list[Path]) -> Any:
    mel, embedding = (str(folder / name) for name in _FEATURES)
    paths = [str(file) for file in files]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Specified provider 'CUDAExecutionProvider'")  # 0.4.0 asks for it, and does without
        try:
            if hasattr(package, "FEATURE_MODELS"):  # since 0.5
                options = {"inference_framework": "onnx", "melspec_model_path": mel, "embedding_model_path": embedding}
                model = package.Model(wakeword_models=paths, **options)
            else:
                options = {"melspec_onnx_model_path": mel, "embedding_onnx_model_path": embedding}
                model = package.Model(wakeword_model_paths=paths, **options)
        except Exception as error:  # it hands on what onnxruntime raises, which has no other common base
            raise ConfigError(f"openwakeword cannot load {', '.join(paths)}: {str(error).splitlines()[0]}") from error
    several = [name for name, outputs in model.model_outputs.items() if outputs != 1]
    if several:
        raise ConfigError(f"{', '.join(several)}: gives more than one score, where Pipit needs a single one")
    return model
