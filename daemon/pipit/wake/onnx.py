"""A wake word that exists as an ONNX file only: run by onnxruntime, which costs 50 MB of memory and is loaded only then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipit.errors import ConfigError
from pipit.wake.classifier import NotAModel, check


class OnnxClassifier:
    """A classifier in an ONNX file.

    Raises:
        ConfigError: onnxruntime is not installed.
        NotAModel: the file cannot be run.
    """

    def __init__(self, path: Path) -> None:
        session = _session(path)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        is_float = bool(inputs) and inputs[0].type == "tensor(float)"
        self.window = check(is_float, [each.shape for each in inputs], [each.shape for each in outputs])
        self._input = inputs[0].name
        self._session: Any = session

    def score(self, embeddings: memoryview) -> float:
        """Return 0 to 1 for the last `window` embeddings: float32, oldest first, as bytes."""
        import numpy as np

        frames = np.frombuffer(embeddings, np.float32).reshape(1, self.window, -1)
        return float(self._session.run(None, {self._input: frames})[0].item())

    def close(self) -> None:
        """Free the model. May be called twice."""
        self._session = None


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f"{path} needs onnxruntime ({error}): sudo make install EXTRAS=onnx, or use the model's .tflite file"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # its default burns half as much again in idle threads
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors have no other common base
        raise NotAModel(f"onnxruntime cannot load it: {str(error).splitlines()[0]}") from error
