"""WAV files: reading what people have, writing 16-bit mono.

The standard library's `wave` is not used: until Python 3.12 it refuses the extensible header that most programs write for 24 bits,
and what it writes is unreadable until it is closed.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipit.errors import ConfigError

_PCM = 0x0001
_EXTENSIBLE = 0xFFFE
_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
_LARGEST = 0xFFFFFFFF - _HEADER.size


class _Format(NamedTuple):
    """The chunk "fmt " (Multimedia Programming Interface and Data Specifications 1.0, IBM and Microsoft, 1991)."""

    code: int
    channels: int
    rate_hz: int
    bytes_per_second: int
    frame_bytes: int
    bits: int


def read_wav(path: str | Path) -> tuple[NDArray[np.int16], int]:
    """Read a WAV file of 8, 16, 24 or 32-bit PCM.

    A data chunk that claims to be longer than the file, as in a recording that was cut off or came through a pipe, is read to the
    end of the file.

    Returns:
        Samples of shape (frames, channels), and the rate in Hz.

    Raises:
        ConfigError: there is no such file, or it is no WAV file of these kinds.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a WAV file") from error
    chunks = _chunks(data)
    if chunks is None:
        raise ConfigError(f"{path}: no WAV file; convert it, for example with: sox {path} -b 16 NEW.wav")
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise ConfigError(f'{path}: a damaged WAV file: the chunk "fmt " or "data" is missing; record or convert it again')
    header = chunks[b"fmt "]
    form = _Format(*struct.unpack("<HHIIHH", header[:16]))
    code = struct.unpack("<H", header[24:26])[0] if form.code == _EXTENSIBLE and len(header) >= 26 else form.code
    if code != _PCM or form.bits not in _DECODE:
        raise ConfigError(
            f"{path}: WAV format {code} with {form.bits} bits; 8, 16, 24 or 32-bit PCM (format 1) is needed: "
            f"sox {path} -e signed -b 16 NEW.wav"
        )
    if form.channels < 1 or form.rate_hz < 1 or form.frame_bytes != form.channels * form.bits // 8:
        shape = f"{form.channels} channels, {form.rate_hz} Hz, {form.frame_bytes} bytes a frame"
        raise ConfigError(f"{path}: a damaged WAV file ({shape}); record or convert it again")
    if not 8000 <= form.rate_hz <= 96000:
        rates = f"a sample rate of {form.rate_hz} Hz; 8000 to 96000 Hz are needed"
        raise ConfigError(f"{path}: {rates}: sox {path} -b 16 -r 48000 NEW.wav")
    sound = chunks[b"data"]
    samples = _DECODE[form.bits](sound[: len(sound) // form.frame_bytes * form.frame_bytes])
    return samples.reshape(-1, form.channels), form.rate_hz


def _chunks(data: bytes) -> dict[bytes, bytes] | None:
    """Cut a RIFF file into its chunks by name, the first of each; None where it is no WAVE file."""
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, at)
        chunks.setdefault(name, data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2  # chunks begin at even places
    return chunks


def _from_8(data: bytes) -> NDArray[np.int16]:
    return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8  # the only unsigned one


def _from_16(data: bytes) -> NDArray[np.int16]:
    return np.frombuffer(data, "<i2").astype(np.int16)


def _from_24(data: bytes) -> NDArray[np.int16]:
    return np.frombuffer(data, np.uint8).reshape(-1, 3)[:, 1:].copy().view("<i2").ravel().astype(np.int16)


def _from_32(data: bytes) -> NDArray[np.int16]:
    return (np.frombuffer(data, "<i4") >> 16).astype(np.int16)


_DECODE = {8: _from_8, 16: _from_16, 24: _from_24, 32: _from_32}


def write_wav(path: str | Path, samples: NDArray[np.int16], rate_hz: int) -> None:
    """Write a 16-bit mono WAV file; `samples` has the shape (n,)."""
    with Path(path).open("wb", buffering=0) as file:
        WavWriter(file, rate_hz).write(samples)


class WavWriter:
    """Writes a 16-bit mono WAV file that is complete after each `write`, so killing the process costs nothing.

    Args:
        file: opened for binary writing, unbuffered; empty, or written by a `WavWriter` before, to go on with.
        rate_hz: sample rate.
    """

    def __init__(self, file: BinaryIO, rate_hz: int) -> None:
        self._file = file
        self._rate_hz = rate_hz
        self._bytes = max(0, file.seek(0, 2) - _HEADER.size)
        self._write_header()

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append samples, shape (n,).

        Raises:
            OSError: the disk is full, for example.
        """
        data = samples.astype("<i2", copy=False).tobytes()
        self._file.seek(0, 2)
        self._bytes += self._file.write(data)
        self._write_header()

    def _write_header(self) -> None:
        size = min(self._bytes, _LARGEST)  # longer ones (12 hours at 48 kHz) play to here in most programs
        header = _HEADER.pack(
            *(b"RIFF", _HEADER.size - 8 + size, b"WAVE"),
            *(b"fmt ", 16, _PCM, 1, self._rate_hz, 2 * self._rate_hz, 2, 16),
            *(b"data", size),
        )
        self._file.seek(0)
        self._file.write(header)
