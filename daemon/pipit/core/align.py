"""Which sample was at the loudspeaker when another was at the microphone: from the time stamps of two streams.

Counting samples cannot tell: two streams do not start together, and each interruption moves one against the other (counting alone
was wrong by 35 to 124 ms). Each block comes with the time at which its first sample passes the converter. These stamps jitter by
fractions of a millisecond, so a line is laid through them; where a device stumbled the line starts again.
"""

from __future__ import annotations

from typing import NamedTuple

JUMP_S = 0.008
"""A stamp that is further off than this belongs to another line: samples were lost or inserted."""

_JUMPS = 2  # one stamp alone may be wrong
_SLOWEST = 50  # blocks: time constant of the offset, once the line is old
_SLOPE_S = 400.0  # time constant of the slope, in blocks, times _SLOWEST
_LIMIT = 4e-4  # sample clocks are better than this
_YOUNG = 25  # blocks before the slope is touched
_SAME_CLOCK_S = 0.5
_LEAK_S = 2e-5  # per block of 20 ms: a clock that is slewed by 500 ppm moves by half of this


class _Fit(NamedTuple):
    at: float
    time_s: float
    period_s: float


class Line:
    """Sample index <-> time in seconds. One thread adds stamps, any other asks.

    Args:
        rate_hz: nominal sample rate.
    """

    def __init__(self, rate_hz: float) -> None:
        self._nominal_s = 1 / rate_hz
        self._fit: _Fit | None = None  # replaced as a whole, so that who asks sees one line or the next, never a mixture
        self._blocks = 0
        self._jumps = 0

    @property
    def known(self) -> bool:
        """Whether there was a stamp yet."""
        return self._fit is not None

    def add(self, index: int, time_s: float) -> None:
        """Note that sample `index`, the first of a block, passes the converter at `time_s`."""
        fit = self._fit
        if fit is None:
            self._fit = _Fit(index, time_s, self._nominal_s)
            return
        advance = index - fit.at
        expected_s = fit.time_s + advance * fit.period_s
        error_s = time_s - expected_s
        if abs(error_s) > JUMP_S:
            self._jumps += 1
            if self._jumps >= _JUMPS:
                self._fit, self._jumps, self._blocks = _Fit(index, time_s, fit.period_s), 0, 0
            return
        self._jumps = 0
        self._blocks += 1
        # An alpha-beta tracker whose gain falls to 1 in 50 blocks, so that the first stamps count fully and later ones little.
        alpha = max(2 / (self._blocks + 2), 1 / _SLOWEST)
        beta = min(alpha**2 / (2 - alpha), 1 / (_SLOPE_S * _SLOWEST))
        period_s = fit.period_s
        if advance > 0 and self._blocks > _YOUNG:
            period_s += beta * error_s / advance
            period_s = min(max(period_s, self._nominal_s * (1 - _LIMIT)), self._nominal_s * (1 + _LIMIT))
        self._fit = _Fit(index, expected_s + alpha * error_s, period_s)

    def time(self, index: float) -> float:
        """Return when a sample passes the converter, in seconds; there must be a stamp."""
        fit = self._known()
        return fit.time_s + (index - fit.at) * fit.period_s

    def index(self, time_s: float) -> float:
        """Return which sample passes the converter at a time; there must be a stamp."""
        fit = self._known()
        return fit.at + (time_s - fit.time_s) / fit.period_s

    def _known(self) -> _Fit:
        if self._fit is None:
            raise ValueError("a line without a stamp; look at `known` first")
        return self._fit


class Clock:
    """Turns a sound system's times into those of our own clock.

    PortAudio stamps with CLOCK_MONOTONIC for a card and with CLOCK_REALTIME through PulseAudio, and the microphone may be one and
    the loudspeaker the other. A stamp is made before the callback runs, never after it; so the smallest difference seen between the
    two clocks is the true one, and the rest is time spent waiting for the interpreter.
    """

    def __init__(self) -> None:
        self._offset_s: float | None = None

    def offset_s(self, theirs_s: float, ours_s: float) -> float:
        """Return what to add to their times.

        Args:
            theirs_s: their present time.
            ours_s: ours (time.monotonic) in the callback, a little later.
        """
        difference_s = ours_s - theirs_s
        if abs(difference_s) < _SAME_CLOCK_S:
            return 0.0  # the same clock, and it is exact
        if self._offset_s is None or difference_s < self._offset_s or difference_s > self._offset_s + _SAME_CLOCK_S:
            self._offset_s = difference_s
        else:
            self._offset_s += min(_LEAK_S, difference_s - self._offset_s)
        return self._offset_s
