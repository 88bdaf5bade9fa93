"""The last seconds of a stream of sound, addressed by sample number since the stream began."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Ring:
    """Keeps the newest `capacity` samples: mono int16. One thread writes, one thread reads, nobody waits.

    Why no lock is needed. Every field has one writer: `_claimed` and `_written` belong to the writing thread, `_consumed` to the
    reading one. The writer first claims what it is about to overwrite, then copies, then moves `_written`; each of the three is a
    step of its own under the interpreter's lock, so a reader that sees the counter sees the samples too. NumPy lets go of that lock
    while it copies more than a few hundred samples; taking it back is the memory barrier that puts the samples before the counter.
    The reader copies first and looks at `_claimed` afterwards: had the writer come round to its samples, it would know.

    A quarter more than `capacity` is allocated, so that the writer has to be that far ahead before it reaches what a reader is
    copying.

    Args:
        capacity: how many samples stay readable, at least 1.

    Raises:
        ValueError: a capacity below 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"a ring of {capacity} samples: must be at least 1")
        self.capacity = capacity
        """How many of the newest samples can be read."""
        self._size = capacity + max(1, capacity // 4)
        self._samples = np.zeros(self._size, np.int16)
        self._claimed = 0
        self._written = 0
        self._consumed = 0

    @property
    def written(self) -> int:
        """Index after the newest sample: how many were ever written."""
        return self._written

    @property
    def oldest(self) -> int:
        """Lowest index that can still be read."""
        return max(0, self._written - self.capacity)

    @property
    def consumed(self) -> int:
        """Highest `stop` that was read so far."""
        return self._consumed

    def write(self, samples: NDArray[np.int16]) -> None:
        """Append samples; those that fall out of the ring are lost. Copies without allocating.

        Args:
            samples: shape (n,); may be a strided view, such as one channel of an interleaved block.
        """
        count = len(samples)
        start, stop = self._written, self._written + count
        self._claimed = stop
        if count > self._size:
            samples, start = samples[-self._size :], stop - self._size
        at = start % self._size
        until_end = min(len(samples), self._size - at)
        self._samples[at : at + until_end] = samples[:until_end]
        if until_end < len(samples):
            self._samples[: len(samples) - until_end] = samples[until_end:]
        self._written = stop

    def read(self, start: int, stop: int) -> NDArray[np.int16]:
        """Return a copy of the samples with the indices `start` to `stop` - 1.

        Raises:
            ValueError: they are not all there, or were overwritten while they were copied.
        """
        oldest, written = self.oldest, self._written
        if not oldest <= start <= stop <= written:
            raise ValueError(f"samples {start} to {stop} are not in the ring, which holds {oldest} to {written}")
        copy = np.empty(stop - start, np.int16)
        at = start % self._size
        until_end = min(len(copy), self._size - at)
        copy[:until_end] = self._samples[at : at + until_end]
        if until_end < len(copy):
            copy[until_end:] = self._samples[: len(copy) - until_end]
        if start < stop and start < self._claimed - self._size:
            raise ValueError(f"samples {start} to {stop} were overwritten meanwhile; the ring now begins at {self.oldest}")
        self._consumed = max(self._consumed, stop)
        return copy
