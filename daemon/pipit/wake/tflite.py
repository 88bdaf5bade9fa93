"""TensorFlow Lite's C library by ctypes: enough of it to run a network whose tensors have fixed shapes.

The library comes out of the wheel of pyopen-wakeword (or pymicro-wakeword), which is located and never imported: its Python would
bring numpy and nothing that is needed here. While a network runs, the interpreter lock is free, as in every call by ctypes.
"""

from __future__ import annotations

import ctypes
import logging
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

from pipit.errors import ConfigError
from pipit.wake.classifier import NotAModel, check

PACKAGES = ("pyopen_wakeword", "pymicro_wakeword")
"""Packages that contain the library, in order of preference."""

FLOAT32 = 1
"""`kTfLiteFloat32` in TensorFlow's c_api_types.h."""

_FLOAT = struct.Struct("f")

_log = logging.getLogger(__name__)

_IDENTIFIER = b"TFL3"  # bytes 4 to 7 of every TFLite file (schema.fbs)

_POINTER, _INT, _SIZE, _STRING = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t, ctypes.c_char_p
_FUNCTIONS: dict[str, tuple[Any, ...]] = {  # name -> result, arguments (c_api.h, c_api_experimental.h, xnnpack_delegate.h)
    "ModelCreateFromFile": (_POINTER, _STRING),
    "ModelDelete": (None, _POINTER),
    "InterpreterOptionsCreate": (_POINTER,),
    "InterpreterOptionsDelete": (None, _POINTER),
    "InterpreterOptionsSetNumThreads": (None, _POINTER, _INT),
    "InterpreterOptionsAddDelegate": (None, _POINTER, _POINTER),
    "XNNPackDelegateCreate": (_POINTER, _POINTER),
    "XNNPackDelegateDelete": (None, _POINTER),
    "InterpreterCreate": (_POINTER, _POINTER, _POINTER),
    "InterpreterDelete": (None, _POINTER),
    "InterpreterAllocateTensors": (_INT, _POINTER),
    "InterpreterInvoke": (_INT, _POINTER),
    "InterpreterGetInputTensorCount": (_INT, _POINTER),
    "InterpreterGetOutputTensorCount": (_INT, _POINTER),
    "InterpreterGetInputTensor": (_POINTER, _POINTER, _INT),
    "InterpreterGetOutputTensor": (_POINTER, _POINTER, _INT),
    "TensorType": (_INT, _POINTER),
    "TensorNumDims": (_INT, _POINTER),
    "TensorDim": (_INT, _POINTER, _INT),
    "TensorByteSize": (_SIZE, _POINTER),
    "TensorData": (_POINTER, _POINTER),
    "TensorName": (_STRING, _POINTER),
}


class Tensor(NamedTuple):
    """An input or output of a network, in the library's own memory."""

    name: str
    shape: tuple[int, ...]
    type: int
    data: memoryview
    """Its bytes; writable. ValueError once the network is closed."""


class Library:
    """The C library; each function is an attribute under its C name without "TfLite".

    Raises:
        ConfigError: it is not installed, or not for this machine.
    """

    def __init__(self) -> None:
        path = locate()
        try:
            library = ctypes.CDLL(str(path))
            for name, (result, *arguments) in _FUNCTIONS.items():
                function = getattr(library, f"TfLite{name}")
                function.restype, function.argtypes = result, arguments
                setattr(self, name, function)
        except (OSError, AttributeError) as error:
            raise ConfigError(
                f"{path} cannot be used ({error}): reinstall it for this machine with pip install --force-reinstall pyopen-wakeword"
            ) from error

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"TfLite{name} was not bound")


def package_folders(package: str) -> Iterable[Path]:
    """Return where a package's files lie, without importing it; nothing if it is not installed."""
    spec = PathFinder.find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def locate() -> Path:
    """Return the path of the C library.

    Raises:
        ConfigError: none of the packages that contain it is installed.
    """
    for package in PACKAGES:
        for folder in package_folders(package):
            for path in sorted(folder.glob("lib/*tensorflowlite_c.*")):
                return path
    raise ConfigError("the wake word needs TensorFlow Lite's C library, which is not installed: pip install pyopen-wakeword")


class Network:
    """A model ready to run on one thread. Its inputs keep what was written to them from one run to the next.

    Args:
        library: the C library.
        path: a .tflite file.
        xnnpack: run it on XNNPACK's kernels, where there are any: twice as fast for convolutions; no faster for the small
            classifiers, and 2 MB each.

    Raises:
        OSError: the file cannot be read.
        NotAModel: it cannot be run.
    """

    def __init__(self, library: Library, path: Path, *, xnnpack: bool = False) -> None:
        self._invoke = library.InterpreterInvoke
        with ExitStack() as resources:
            self._interpreter: int | None = _interpreter(library, path, xnnpack, resources)
            self.inputs = _tensors(library, self._interpreter, "Input")
            self.outputs = _tensors(library, self._interpreter, "Output")
            self._resources = resources.pop_all()

    def invoke(self) -> None:
        """Compute the outputs from the inputs."""
        if self._interpreter is None:
            raise ValueError("the network is closed")
        if self._invoke(self._interpreter):
            raise RuntimeError("TensorFlow Lite could not run the network; it says why on stderr")

    def close(self) -> None:
        """Free the model and its tensors, whose data cannot be touched any more. May be called twice."""
        self._interpreter = None
        for tensor in self.inputs + self.outputs:
            tensor.data.release()
        self._resources.close()


def _interpreter(library: Library, path: Path, xnnpack: bool, resources: ExitStack) -> int:
    """Create an interpreter; `resources` frees it and what it needs, last things first."""
    with path.open("rb") as file:
        if file.read(8)[4:] != _IDENTIFIER:
            raise NotAModel("it is not a TFLite file")
    with _messages() as messages:
        model = library.ModelCreateFromFile(os.fsencode(path))
        if not model:
            raise NotAModel(_reason("it is damaged", messages()))
        resources.callback(library.ModelDelete, model)
        options = library.InterpreterOptionsCreate()
        library.InterpreterOptionsSetNumThreads(options, 1)
        # On ARM it asks /proc/cpuinfo and /sys about the processor. Where they are hidden there is none, and the plain kernels do.
        if xnnpack and (delegate := library.XNNPackDelegateCreate(None)):
            resources.callback(library.XNNPackDelegateDelete, delegate)
            library.InterpreterOptionsAddDelegate(options, delegate)
        interpreter = library.InterpreterCreate(model, options)
        library.InterpreterOptionsDelete(options)
        if not interpreter:
            raise NotAModel(_reason("this TensorFlow Lite cannot run it", messages()))
        resources.callback(library.InterpreterDelete, interpreter)
        if library.InterpreterAllocateTensors(interpreter):
            raise NotAModel(_reason("this TensorFlow Lite cannot run it", messages()))
    return int(interpreter)


@contextmanager
def _messages() -> Iterator[Callable[[], list[str]]]:
    """Catch what the library writes to file descriptor 2, to explain an error with it; the rest goes to the log at debug level.

    It has no other way to tell, and its greeting would be a stray line in a log of JSON objects. The descriptor is the whole
    process's, which is why this is done while a model is loaded and not while it runs.
    """
    lines: list[str] = []
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    os.set_blocking(theirs, False)  # what is too much for the pipe is lost

    def caught() -> list[str]:
        with suppress(BlockingIOError):
            lines.extend(os.read(ours, 1 << 16).decode(errors="replace").splitlines())
        return lines

    stderr = os.dup(2)
    os.dup2(theirs, 2)
    try:
        yield caught
    finally:
        os.dup2(stderr, 2)
        for line in caught():
            _log.debug("%s", line)
        for descriptor in (ours, theirs, stderr):
            os.close(descriptor)


def _reason(summary: str, messages: list[str]) -> str:
    details = [line.removeprefix("ERROR: ").rstrip(". ") for line in messages if line.startswith("ERROR: ")]
    return f"{summary} ({'; '.join(details)})" if details else summary


def _tensors(library: Library, interpreter: int, side: str) -> tuple[Tensor, ...]:
    count = getattr(library, f"InterpreterGet{side}TensorCount")(interpreter)
    get = getattr(library, f"InterpreterGet{side}Tensor")
    return tuple(_tensor(library, get(interpreter, index)) for index in range(count))


def _tensor(library: Library, tensor: int) -> Tensor:
    shape = tuple(library.TensorDim(tensor, axis) for axis in range(library.TensorNumDims(tensor)))
    address, size = library.TensorData(tensor), library.TensorByteSize(tensor)
    data = memoryview((ctypes.c_ubyte * size).from_address(address)) if address else memoryview(b"")
    return Tensor(os.fsdecode(library.TensorName(tensor)), shape, library.TensorType(tensor), data.cast("B"))


class TfliteClassifier:
    """A wake word in a .tflite file.

    Raises:
        OSError: the file cannot be read.
        NotAModel: it cannot be run, or is for something else.
    """

    def __init__(self, library: Library, path: Path) -> None:
        with ExitStack() as unless_complete:
            network = unless_complete.enter_context(closing(Network(library, path)))
            inputs, outputs = network.inputs, network.outputs
            is_float = all(tensor.type == FLOAT32 for tensor in inputs + outputs)
            self.window = check(is_float, [tensor.shape for tensor in inputs], [tensor.shape for tensor in outputs])
            unless_complete.pop_all()
        self._network = network
        self._embeddings, self._score = inputs[0].data, outputs[0].data

    def score(self, embeddings: memoryview) -> float:
        """Return 0 to 1 for the last `window` embeddings: float32, oldest first, as bytes."""
        self._embeddings[:] = embeddings
        self._network.invoke()
        (score,) = _FLOAT.unpack(self._score)
        return float(score)

    def close(self) -> None:
        """Free the model. May be called twice."""
        self._network.close()
