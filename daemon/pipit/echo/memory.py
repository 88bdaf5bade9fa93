"""What a canceller knows of a room, kept across restarts: the geometry of the box and its clocks stay what they are.

The file is a digest of the rest, two numbers, the bends and the impulse response. It is not one of numpy's own: reading one that is
damaged ends in whatever exception the damage leads to.
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipit.core.distortion import BENDS

FILE = "echo.bin"

_NUMBERS = struct.Struct("<dd")
_DIGEST_BYTES = 32


class Memory(NamedTuple):
    """What was learnt."""

    response: NDArray[np.float32]
    """Impulse response from the reference to the microphone, 16 kHz."""
    drift: float
    """See `core.drift`."""
    lag_s: float
    """See `echo.Canceller`."""
    bends: NDArray[np.float32]
    """See `core.distortion`."""


def load(folder: Path) -> Memory | None:
    """Read what was kept; None where there is nothing, or it is damaged: it is learnt again in seconds."""
    try:
        data = (folder / FILE).read_bytes()
    except OSError:
        return None
    digest, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if digest != _digest(rest):
        return None
    numbers, samples = _NUMBERS.unpack_from(rest), np.frombuffer(rest, "<f4", offset=_NUMBERS.size).astype(np.float32)
    drift, lag_s = numbers
    return Memory(samples[BENDS:], drift, lag_s, samples[:BENDS]) if np.isfinite([*numbers, *samples]).all() else None


def save(folder: Path, memory: Memory) -> None:
    """Keep it: whole or not at all, whenever the power fails.

    Raises:
        OSError: the folder cannot be written.
    """
    samples = np.concatenate((memory.bends, memory.response))
    rest = _NUMBERS.pack(memory.drift, memory.lag_s) + samples.astype("<f4").tobytes()
    new = folder / f"{FILE}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # how a room sounds is nobody else's
        file.write(_digest(rest) + rest)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / FILE)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
