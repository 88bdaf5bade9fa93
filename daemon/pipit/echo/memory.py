"""What a canceller knows of a room, kept across restarts: the geometry of the box and its clocks stay what they are."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FILE = "echo.npz"


class Memory(NamedTuple):
    """What was learnt."""

    response: NDArray[np.float32]
    """Impulse response from the reference to the microphone, 16 kHz."""
    drift: float
    """See `core.drift`."""
    lag_s: float
    """See `echo.Canceller`."""


def load(folder: Path) -> Memory | None:
    """Read what was kept; None where there is nothing, or nothing sound: it is learnt again in seconds."""
    try:
        with np.load(folder / FILE, allow_pickle=False) as kept:
            response = np.asarray(kept["response"], np.float32)
            drift, lag_s = float(kept["drift"]), float(kept["lag_s"])
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if response.ndim != 1 or not np.isfinite(response).all() or not np.isfinite([drift, lag_s]).all():
        return None
    return Memory(response, drift, lag_s)


def save(folder: Path, memory: Memory) -> None:
    """Keep it: whole or not at all, whenever the power fails.

    Raises:
        OSError: the folder cannot be written.
    """
    handle, name = tempfile.mkstemp(prefix=FILE, dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, response=memory.response, drift=memory.drift, lag_s=memory.lag_s)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(folder / FILE)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
