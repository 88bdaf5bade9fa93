"""How far a listener has got: what was handed to the loudspeaker is heard only after it has been through the device's buffer."""

from __future__ import annotations

from typing import NamedTuple


class _Block(NamedTuple):
    audible_at: float
    before: int
    after: int


class Playhead:
    """Remembers the blocks on their way to the loudspeaker. One thread hands them over, any other asks.

    Args:
        rate_hz: rate of the positions.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._blocks: tuple[_Block, ...] = ()  # oldest first; replaced as a whole, so the other thread sees all of it or nothing

    def hand(self, now: float, delay_s: float, before: int, after: int) -> None:
        """Note that a block was handed over, which the listener will begin to hear in `delay_s`.

        Args:
            now: the present time, in seconds.
            delay_s: how long the block waits in the device.
            before: position of speech before the block.
            after: position after it; less than a block further where silence was added, more where speech was dropped.
        """
        blocks = self._blocks
        while len(blocks) > 1 and blocks[1].audible_at <= now:
            blocks = blocks[1:]
        self._blocks = (*blocks, _Block(now + delay_s, before, after))

    def heard(self, now: float) -> int:
        """Return the position of speech that was heard by `now`."""
        blocks = self._blocks
        position = blocks[0].before if blocks else 0
        for audible_at, before, after in blocks:
            if now < audible_at:
                break
            position = min(after, before + round((now - audible_at) * self._rate_hz))
        return position
