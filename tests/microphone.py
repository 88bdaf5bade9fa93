"""A microphone that a test speaks into when it likes: the file device's, in another process.

`python -m tests.microphone PATH run ...` is `pipit run ...` whose file device hears, on top of its WAV file, what a `Microphone` on
that path is told.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipit import cli
from pipit.audio import file

RATE_HZ = 48000
LENGTH_S = 120
AHEAD = RATE_HZ // 5
"""So far from now is it written, in samples, so that none of it is late."""


class Microphone:
    """What is heard, and how far the tape has run, in memory that two processes share.

    Args:
        path: of that memory.
        new: nothing is heard yet.
    """

    def __init__(self, path: Path, *, new: bool = True) -> None:
        if new:
            path.write_bytes(bytes(8 + 2 * LENGTH_S * RATE_HZ))
        self.path = path
        self._at = np.memmap(path, np.int64, "r+", shape=(1,))
        self._tape = np.memmap(path, np.int16, "r+", offset=8)

    def heard(self, start: int, stop: int) -> NDArray[np.int16]:
        """Return a piece of the tape."""
        return np.asarray(self._tape[start:stop])

    def ran(self, to: int) -> None:
        """Tell how far the tape has run, in samples."""
        self._at[0] = to

    async def hears(self, clip: NDArray[np.int16]) -> None:
        """Say something, now; return when the last of it has been said."""
        while True:
            start = int(self._at[0]) + AHEAD
            self._tape[start : start + len(clip)] = clip
            if int(self._at[0]) < start:
                break
            self._tape[start : start + len(clip)] = 0  # this process stood still, and the beginning came too late
        while int(self._at[0]) < start + len(clip):  # noqa: ASYNC110 (it runs in another process)
            await asyncio.sleep(0.01)


class _Listening(file.FileDevice):
    """The file device."""

    microphone: Microphone

    def _tape(self, start: int, stop: int) -> NDArray[np.int16]:
        return super()._tape(start, stop) + self.microphone.heard(start, stop)

    def _capture_block(self) -> bool:
        captured = super()._capture_block()
        self.microphone.ran(self._bounds(RATE_HZ)[1])
        return captured


if __name__ == "__main__":
    _Listening.microphone = Microphone(Path(sys.argv.pop(1)), new=False)
    file.FileDevice = _Listening  # type: ignore[misc]
    sys.exit(cli.main())
