"""Whether the canceller does what it is there for: measured while Pipit speaks, sentence by sentence.

Cancellers fail silently: wrong delay, wrong device, a clipped loudspeaker. So none is believed: the person may talk over Pipit only
after what was removed has been measured, and no longer than it goes on being so.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import dbfs

FLOOR_DB = 20.0
"""Default of `echo.floor_db`. In simulated rooms the engines that removed 23 dB and more let 0.5 to 10 % of Pipit's own voice pass
for a person's; those below 20 dB let 70 % and more."""

_AGAIN_DB = 3.0  # hysteresis: so much better than the floor it has to be to be believed again
_SPAN_FRAMES = 25  # 0.5 s of Pipit's voice make one measurement
_DISTRUST, _DISTRUST_OF = 2, 3  # bad measurements that end belief, of the latest: a door that slams spoils one
_BELIEF, _BELIEF_OF = 5, 6
"""Good measurements that begin belief, of the latest. Who believes wrongly interrupts himself, who doubts wrongly waits a little.
Where the echo came a second late, AEC3 removed 33 and 54 dB of the first second and 5 of the next."""

_ALIGNED_DB = 6.0
"""Where less is gone from what the wake word engine hears, made by a linear canceller, it is this that counts: a suppressor that
finds no echo may mute everything for a while. AEC3 removed 38 dB for three seconds of an echo that came a second late. A linear
canceller removes nothing (5 dB at most) where it does not work, and 6 to 11 dB in the first second where it does."""
_DOUBTED_FRAMES = 40  # frames shortly before a person was noticed are not the echo's alone
_QUIETEST_DBFS = -70.0  # of the reference: what is quieter leaves nothing to be measured
_AUDIBLE_DB = 10.0  # an echo this far above the noise can be measured
_SILENT_DBFS = -80.0  # nobody hears what is quieter, even where a microphone mutes itself
_INAUDIBLE_DB = 6.0  # an echo that is left no further above the noise than this is as good as gone


class Verdict(Enum):
    """What is known of the canceller."""

    UNPROVEN = "unproven"
    WORKS = "works"
    FAILS = "fails"


class Measurement(NamedTuple):
    """Half a second of Pipit's own voice."""

    removed_db: float | None
    """None: the microphone did not hear the loudspeaker above the noise."""
    left_db: float
    """What was left of the echo, above the noise."""


class _Powers(NamedTuple):
    """Of one frame."""

    microphone: float
    speech: float
    ears: float
    noise: float
    """Of the room then. A fan that has stopped since would make its own noise an echo above what is left of it."""


class Proof:
    """Measures, and judges. The dsp thread feeds it, any other reads.

    Args:
        floor_db: how much has to be removed.
    """

    def __init__(self, floor_db: float = FLOOR_DB) -> None:
        self.verdict = Verdict.UNPROVEN
        self.count = 0
        """How many measurements there were so far."""
        self.floor_db = floor_db
        self.deciding_db: float | None = None
        """How much was removed in the latest measurements that speak for the verdict; None if none could be measured."""
        self._measured: deque[Measurement] = deque(maxlen=1200)  # ten minutes of reply
        self._recent: deque[Measurement] = deque(maxlen=_BELIEF_OF)
        self._noise = NoiseFloor()
        self._pending: deque[_Powers] = deque()
        self._span: list[_Powers] = []
        self._silent = 0

    def trust(self) -> None:
        """Believe in it from the start, because it was proven before."""
        self.verdict = Verdict.WORKS

    def feed(
        self,
        microphone: NDArray[np.int16],
        speech: NDArray[np.int16],
        ears: NDArray[np.int16],
        reference: NDArray[np.int16] | None,
        talking: bool,
    ) -> None:
        """Take a frame.

        Args:
            microphone: as it was heard.
            speech: what the canceller made of it for the service; a few frames late does no harm.
            ears: and for the wake word engine.
            reference: what the loudspeaker played.
            talking: whether a person talks as well.
        """
        speech_power = power(speech)
        self._noise.feed(10 * math.log10(speech_power))
        self._silent = 0 if reference is not None else self._silent + 1
        if talking:
            self._pending.clear()
        elif reference is not None and dbfs(reference) > _QUIETEST_DBFS:
            ears_power = speech_power if ears is speech else power(ears)
            self._pending.append(_Powers(power(microphone), speech_power, ears_power, 10 ** (self._noise.dbfs / 10)))
        while len(self._pending) > (_DOUBTED_FRAMES if self._silent < _DOUBTED_FRAMES else 0):
            self._span.append(self._pending.popleft())
            if len(self._span) == _SPAN_FRAMES:
                self._measure()

    @property
    def latest(self) -> Measurement | None:
        """The last measurement."""
        return self._measured[-1] if self._measured else None

    def removed_db(self, since: int = 0) -> float | None:
        """Return how much was removed: the median of the measurements after the first `since`; None if there were none."""
        wanted = self.count - since
        return _median(m.removed_db for m in list(self._measured)[-wanted:]) if wanted > 0 else None

    def _measure(self) -> None:
        levels = (10 * math.log10(sum(column) / _SPAN_FRAMES) for column in zip(*self._span, strict=True))
        heard_db, left_db, ears_db, noise_db = levels
        self._span.clear()
        noise_db = max(noise_db, _SILENT_DBFS)
        audible = heard_db > noise_db + _AUDIBLE_DB
        if audible and heard_db - ears_db < _ALIGNED_DB:
            left_db = ears_db
        measurement = Measurement(heard_db - left_db if audible else None, left_db - noise_db)
        self._measured.append(measurement)
        self._recent.append(measurement)
        self.count += 1
        self._judge()

    def _judge(self) -> None:
        wanted_db = self.floor_db + (_AGAIN_DB if self.verdict is Verdict.FAILS else 0)
        good = [m.left_db <= _INAUDIBLE_DB or (m.removed_db or 0.0) >= wanted_db for m in self._recent]
        if self.verdict is Verdict.WORKS:
            if good[-_DISTRUST_OF:].count(False) >= _DISTRUST:
                self.verdict = Verdict.FAILS
        elif len(good) == _BELIEF_OF:
            self.verdict = Verdict.WORKS if good.count(True) >= _BELIEF else Verdict.FAILS
        speaks = [m.removed_db for m, fine in zip(self._recent, good, strict=True) if fine is (self.verdict is Verdict.WORKS)]
        self.deciding_db = _median(speaks)


def _median(removed_db: Iterable[float | None]) -> float | None:
    values = [db for db in removed_db if db is not None]
    return float(np.median(values)) if values else None


class NoiseFloor:
    """The level of the room when nobody talks: falls at once, rises slowly, so that a sentence hardly moves it."""

    _RISE_DB = 0.02  # per frame of 20 ms: 1 dB/s

    def __init__(self) -> None:
        self.dbfs = -60.0
        """A quiet room at a usual gain, until something was heard."""
        self._smooth = -60.0

    def feed(self, level_dbfs: float) -> None:
        """Take the level of a frame."""
        self._smooth += 0.2 * (level_dbfs - self._smooth)
        self.dbfs = min(self._smooth, self.dbfs + self._RISE_DB)


def power(samples: NDArray[np.int16]) -> float:
    """Return the mean power relative to full scale, never zero: at least that of one sample of 1 in a block."""
    if len(samples) == 0:
        return 1e-12
    wide = samples.astype(np.float32)
    return max(1e-12, float(np.dot(wide, wide)) / len(wide) / 32768**2)
