"""Build `daemon/pipit/wake/features.tflite`: openWakeWord's two feature models as one that works on 80 ms at a time.

    python -m tests.wake.build_features            (needs onnx, flatbuffers and ai-edge-litert)

openWakeWord computes a mel spectrogram of the last 110 ms, keeps 76 mel frames and runs the whole speech embedding over them again
every 8 frames. But the embedding is a chain of convolutions and pools without padding in time, and its pools shrink time by 8
altogether, which is the hop. So the last two rows in front of each convolution over time are all that has to be remembered (11
states, 38 KB), and a hop costs 5.6 million multiplications instead of 42. The result is the same sums of the same weights.

    in   pcm          int16 [1, 1, 10, 160]   the 1600 samples that 8 mel frames cover, oldest first
         floor        float [1]               0: the first convolution is rectified, as in openWakeWord's ONNX file;
                                              -3.4e38: it is not, as in its TFLite file (the one difference between the two)
         state_0..10  float [1, 2, bins, channels]
    out  embedding    float [1, 1, 1, 96]
         next_0..10                           the states for the next call

Not part of the package, because the daemon never needs it and what it imports is for development only. It lies beside the test
that proves its output equal to the originals, and builds the committed file byte by byte. The weights are Google's speech embedding
and openWakeWord's mel spectrogram, both under the Apache Licence 2.0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as tfl
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.wake import stock

OUTPUT = Path(__file__).parents[2] / "daemon/pipit/wake/features.tflite"

HOP = 160
FRAMES = 8
WINDOW = slice(56, 456)
"""Where the 400-sample Hann window lies within the 512 samples of the Fourier transform; the rest of it is zero."""

Floats = NDArray[np.float32]


class Graph:
    """A TFLite model under construction. Tensors are numbers; `add` returns that of the new operator's output."""

    def __init__(self, description: str) -> None:
        self._graph = tfl.SubGraphT()
        self._graph.name = "main"
        self._graph.tensors, self._graph.operators = [], []
        self._graph.inputs, self._graph.outputs = [], []
        self._model = tfl.ModelT()
        self._model.version = 3
        self._model.description = description
        self._model.subgraphs, self._model.operatorCodes = [self._graph], []
        self._model.buffers = [tfl.BufferT()]

    def input(self, name: str, shape: list[int], type_: int = tfl.TensorType.FLOAT32) -> int:
        self._graph.inputs.append(self._tensor(name, shape, type_))
        return int(self._graph.inputs[-1])

    def output(self, tensor: int, name: str) -> None:
        self._graph.tensors[tensor].name = name
        self._graph.outputs.append(tensor)

    def constant(self, values: Any, dtype: Any = np.float32) -> int:
        array = np.ascontiguousarray(values, dtype)
        tensor = self._tensor("", list(array.shape), tfl.TensorType.FLOAT32 if dtype is np.float32 else tfl.TensorType.INT32)
        buffer = tfl.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self._graph.tensors[tensor].buffer = len(self._model.buffers)
        self._model.buffers.append(buffer)
        return tensor

    def add(self, operator: str, inputs: list[int], shape: list[int], options: str | None = None, **settings: Any) -> int:
        """Append an operator.

        Args:
            operator: name in TFLite's `BuiltinOperator`.
            inputs: tensors.
            shape: of its output.
            options: the options table that it takes, without "Options"; the operator takes none if omitted.
            settings: fields of that table.
        """
        node = tfl.OperatorT()
        node.opcodeIndex = self._code(getattr(tfl.BuiltinOperator, operator))
        node.inputs = inputs
        node.outputs = [self._tensor("", shape, tfl.TensorType.FLOAT32)]
        if options is not None:
            node.builtinOptionsType = getattr(tfl.BuiltinOptions, f"{options}Options")
            node.builtinOptions = getattr(tfl, f"{options}OptionsT")()
            for name, value in settings.items():
                setattr(node.builtinOptions, name, value)
        self._graph.operators.append(node)
        return int(node.outputs[0])

    def shape(self, tensor: int) -> list[int]:
        return list(self._graph.tensors[tensor].shape)

    def serialise(self) -> bytes:
        builder = flatbuffers.Builder(1 << 21)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: list[int], type_: int) -> int:
        tensor = tfl.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, type_, 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _code(self, builtin: int) -> int:
        for index, known in enumerate(self._model.operatorCodes):
            if known.builtinCode == builtin:
                return index
        code = tfl.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        self._model.operatorCodes.append(code)
        return len(self._model.operatorCodes) - 1


# -- operators --------------------------------------------------------------------------------------------------------------------


def elementwise(graph: Graph, kind: str, x: int, other: int) -> int:
    """ADD, SUB or MUL; the shape is that of `x`."""
    options = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul"}[kind]
    return graph.add(kind, [x, other], graph.shape(x), options, fusedActivationFunction=0)


def maximum(graph: Graph, x: int, other: int) -> int:
    return graph.add("MAXIMUM", [x, other], graph.shape(x), "MaximumMinimum")


def convolution(graph: Graph, x: int, weights: Floats, bias: Floats | None, padding: int = tfl.Padding.VALID) -> int:
    """2-D convolution with stride 1; `weights` as ONNX has them: [out, in, height, width]."""
    batch, height, width, _ = graph.shape(x)
    out, _, rows, columns = weights.shape
    if padding == tfl.Padding.VALID:
        width -= columns - 1
    kernel = graph.constant(weights.transpose(0, 2, 3, 1))
    offset = graph.constant(np.zeros(out) if bias is None else bias)
    options = {"padding": padding, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    shape = [batch, height - rows + 1, width, out]
    return graph.add("CONV_2D", [x, kernel, offset], shape, "Conv2D", fusedActivationFunction=0, **options)


def remember(graph: Graph, x: int, index: int) -> int:
    """Put the last two rows of the previous call in front of `x`, and hand on the last two of this."""
    _, rows, width, channels = graph.shape(x)
    state = graph.input(f"state_{index}", [1, 2, width, channels])
    shape = [1, rows + 2, width, channels]
    joined = graph.add("CONCATENATION", [state, x], shape, "Concatenation", axis=1, fusedActivationFunction=0)
    limits = ([0, rows, 0, 0], shape, [1, 1, 1, 1])
    slicing = [joined, *(graph.constant(limit, np.int32) for limit in limits)]
    masks = dict.fromkeys(("beginMask", "endMask", "ellipsisMask", "newAxisMask", "shrinkAxisMask"), 0)
    graph.output(graph.add("STRIDED_SLICE", slicing, [1, 2, width, channels], "StridedSlice", **masks), f"next_{index}")
    return joined


# -- the two models ---------------------------------------------------------------------------------------------------------------


def mel_spectrogram(graph: Graph, model: onnx.ModelProto) -> int:
    """Append openWakeWord's melspectrogram.onnx followed by its x / 10 + 2: samples to [1, 8, 32, 1]."""
    weights = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
    real, imaginary = (weights[f"0.stft.conv_{part}.weight"][:, 0] for part in ("real", "imag"))
    mel = weights["1.melW"]
    used = np.flatnonzero(mel.any(axis=1))
    bins = slice(used[0], used[-1] + 1)
    basis = np.concatenate([real[bins], imaginary[bins]])
    outside = np.delete(basis, np.arange(WINDOW.start, WINDOW.stop), axis=1)
    if outside.any():
        raise ValueError("melspectrogram.onnx: its window reaches beyond 400 samples")

    pcm = graph.input("pcm", [1, 1, FRAMES + 2, HOP], tfl.TensorType.INT16)
    casting = {"inDataType": tfl.TensorType.INT16, "outDataType": tfl.TensorType.FLOAT32}
    x = graph.add("CAST", [pcm], [1, 1, FRAMES + 2, HOP], "Cast", **casting)
    # With the samples in rows of one hop, the windows of 400 samples become a convolution over three rows.
    padded = np.pad(basis[:, WINDOW], ((0, 0), (0, 3 * HOP - 400)))
    x = convolution(graph, x, padded.reshape(-1, 1, 3, HOP).transpose(0, 3, 1, 2), None)
    x = elementwise(graph, "MUL", x, x)
    bands = graph.constant(np.concatenate([mel[bins], mel[bins]]).T)  # sums real² + imaginary² on the way
    connection = {"fusedActivationFunction": 0, "weightsFormat": 0, "keepNumDims": True}
    x = graph.add("FULLY_CONNECTED", [x, bands, -1], [1, 1, FRAMES, 32], "FullyConnected", **connection)
    x = maximum(graph, x, graph.constant(1e-10))
    x = graph.add("LOG", [x], graph.shape(x))
    x = elementwise(graph, "MUL", x, graph.constant(1 / np.log(10)))
    # Tenths of dB from here on: no lower than 80 dB below the loudest of this hop, then + 2.
    loudest = graph.add("REDUCE_MAX", [x, graph.constant([1, 2, 3], np.int32)], [1], "Reducer", keepDims=False)
    x = maximum(graph, x, elementwise(graph, "SUB", loudest, graph.constant(8)))
    x = elementwise(graph, "ADD", x, graph.constant(2))
    shape = [1, FRAMES, 32, 1]
    return graph.add("RESHAPE", [x, graph.constant(shape, np.int32)], shape, "Reshape", newShape=shape)


class Embedding:
    """Appends embedding_model.onnx node by node, each convolution over time with its memory."""

    def __init__(self, graph: Graph, model: onnx.ModelProto, x: int) -> None:
        self._graph, self._model, self._x = graph, model, x
        self._weights = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
        self._states = 0

    def append(self) -> int:
        for node in self._model.graph.node:
            if node.op_type in ("Pad", "Reshape"):
                continue  # the padding is done in `_conv`, the shapes are TFLite's from the start
            settings = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            constants = [self._weights[name] for name in node.input[1:]]
            self._x = getattr(self, f"_{node.op_type.lower()}")(constants, settings)
        return self._x

    def _conv(self, constants: list[Floats], settings: dict[str, Any]) -> int:
        weights, *bias = constants
        rows, columns = weights.shape[2:]
        x = self._x
        if rows == 3:
            x = remember(self._graph, x, self._states)
            self._states += 1
        if (rows, columns) == (3, 3):  # padded in frequency, not in time, which TFLite has no name for
            batch, height, width, channels = self._graph.shape(x)
            around = self._graph.constant([[0, 0], [0, 0], [1, 1], [0, 0]], np.int32)
            x = self._graph.add("PAD", [x, around], [batch, height, width + 2, channels], "Pad")
        padding = tfl.Padding.SAME if (rows, columns) == (1, 3) else tfl.Padding.VALID
        return convolution(self._graph, x, weights, bias[0] if bias else None, padding)

    def _relu(self, constants: list[Floats], settings: dict[str, Any]) -> int:
        return maximum(self._graph, self._x, self._graph.input("floor", [1]))

    def _batchnormalization(self, constants: list[Floats], settings: dict[str, Any]) -> int:
        gamma, beta, mean, variance = constants
        scale = gamma / np.sqrt(variance + settings["epsilon"])
        x = elementwise(self._graph, "MUL", self._x, self._graph.constant(scale))
        return elementwise(self._graph, "ADD", x, self._graph.constant(beta - mean * scale))

    def _leakyrelu(self, constants: list[Floats], settings: dict[str, Any]) -> int:
        return self._graph.add("LEAKY_RELU", [self._x], self._graph.shape(self._x), "LeakyRelu", alpha=settings["alpha"])

    def _max(self, constants: list[Floats], settings: dict[str, Any]) -> int:
        return maximum(self._graph, self._x, self._graph.constant(float(constants[0].item())))

    def _maxpool(self, constants: list[Floats], settings: dict[str, Any]) -> int:
        (rows, columns), stride = settings["kernel_shape"], settings["strides"]
        batch, height, width, channels = self._graph.shape(self._x)
        if stride != [rows, columns] or height % rows:
            raise ValueError(f"embedding_model.onnx: a pool of {rows} x {columns}, stride {stride}, does not divide {height} rows")
        pool = {"strideH": rows, "strideW": columns, "filterHeight": rows, "filterWidth": columns}
        pool |= {"padding": tfl.Padding.VALID, "fusedActivationFunction": 0}
        shape = [batch, height // rows, width // columns, channels]
        return self._graph.add("MAX_POOL_2D", [self._x], shape, "Pool2D", **pool)


def build(folder: Path) -> bytes:
    """Return the streaming model made of `folder`'s melspectrogram.onnx and embedding_model.onnx."""
    graph = Graph("openWakeWord's melspectrogram and Google's speech_embedding (Apache-2.0), 80 ms at a time")
    mel = mel_spectrogram(graph, onnx.load(folder / "melspectrogram.onnx"))
    embedding = Embedding(graph, onnx.load(folder / "embedding_model.onnx"), mel).append()
    graph.output(embedding, "embedding")
    return graph.serialise()


if __name__ == "__main__":
    try:
        OUTPUT.write_bytes(build(stock.models()))
    except stock.Unavailable as error:
        sys.exit(str(error))
