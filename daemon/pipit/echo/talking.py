"""Whether a person talks over Pipit: decided on sound from which Pipit was taken out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipit.core.likeness import likeness
from pipit.core.pcm import HEARING_RATE_HZ, dbfs
from pipit.echo.proof import NoiseFloor
from pipit.vad import Vad

ABOVE_NOISE_DB = 8.0
QUIETEST_DBFS = -50.0
"""A frame counts if it is voiced, this far above the noise of the room, and above this. Without the level webrtcvad takes what is
left of an echo for speech 3 to 154 times in three minutes; with it, never."""
BELOW_HEARD_DB = 30.0
"""And if no more than this was taken from it. In the simulated rooms three quarters of what passed for voiced without a person was
further below the loudest that the microphone had just heard, and of a person at the level of the echo a fifth was."""

PROMINENT = 13.5
"""What stands out so far (see `core.likeness`) is Pipit itself: where the canceller had failed it was 16 at least, 0.2 s after the
first sound, and 12.3 at most with the canceller at work, whatever was said over it, also where the loudspeaker distorts."""

_HEARD_FRAMES = 10
_LOOKED_AT_FRAMES = 50
_LATEST_FRAMES = 75  # an echo later than 1.5 s is not looked for
_NOT_AGAIN_FRAMES = 25  # looking costs as much as a second of the wake word; a canceller that fails does so all the time
_EARLY = HEARING_RATE_HZ // 2


class Voiced:
    """Counts voiced frames: so many of the last so many begin a talk, which lasts until no frame has counted for a while.

    Args:
        mode: of the voice activity detector, 0 to 3.
        needed: voiced frames that begin it.
        window: frames among which they have to be.
        hold: frames without one that end it.
        above_noise_db: how far above the tracked noise floor a frame has to be to count.
        quietest_dbfs: how loud it has to be in any case.
        below_heard_db: how far below the microphone's level it may be.
    """

    def __init__(
        self,
        mode: int,
        needed: int,
        window: int,
        hold: int,
        above_noise_db: float,
        quietest_dbfs: float,
        below_heard_db: float,
    ) -> None:
        self._vad = Vad(mode)
        self._needed = needed
        self._hold = hold
        self._above_noise_db = above_noise_db
        self._quietest_dbfs = quietest_dbfs
        self._below_heard_db = below_heard_db
        self._noise = NoiseFloor()
        self._heard_dbfs: deque[float] = deque(maxlen=_HEARD_FRAMES)
        self._recent: deque[bool] = deque(maxlen=window)
        self._talking = False
        self._since = 0

    def feed(self, frame: NDArray[np.int16], microphone: NDArray[np.int16]) -> bool:
        """Take the next frame; say whether somebody talks.

        Args:
            frame: 20 ms at 16 kHz, without the echo.
            microphone: the same with the echo.
        """
        level_dbfs = dbfs(frame)
        self._noise.feed(level_dbfs)
        self._heard_dbfs.append(dbfs(microphone))
        relative_dbfs = max(self._heard_dbfs) - self._below_heard_db
        floor_dbfs = max(relative_dbfs, self._quietest_dbfs, self._noise.dbfs + self._above_noise_db)
        counts = self._vad.is_speech(frame) and level_dbfs > floor_dbfs
        self._recent.append(counts)
        self._since = 0 if counts else self._since + 1
        if sum(self._recent) >= self._needed:
            self._talking = True
        elif self._since >= self._hold:
            self._talking = False
        return self._talking

    def rest(self) -> None:
        """Nobody talks; the background is still known."""
        self._recent.clear()
        self._talking = False


class Talking:
    """Says whether it is a person that talks, and not Pipit heard by itself because the canceller fails.

    For this it compares what is left with what was played, once, when somebody seems to begin.

    Args:
        needed: voiced frames of ten that begin it.
        slipped: says whether the echo has just moved, so that the canceller left it. Asked before anybody is said to talk.
    """

    def __init__(self, needed: int = 6, slipped: Callable[[], bool] = lambda: False) -> None:
        self._slipped = slipped
        self._voiced = Voiced(
            mode=3,
            needed=needed,
            window=10,
            hold=16,
            above_noise_db=ABOVE_NOISE_DB,
            quietest_dbfs=QUIETEST_DBFS,
            below_heard_db=BELOW_HEARD_DB,
        )
        self._talking = False
        self._wait = 0
        self._left: deque[NDArray[np.int16]] = deque(maxlen=_LOOKED_AT_FRAMES)
        self._played: deque[NDArray[np.int16]] = deque(maxlen=_LOOKED_AT_FRAMES + _LATEST_FRAMES)
        self.rest()

    def feed(
        self, left: NDArray[np.int16], microphone: NDArray[np.int16], reference: NDArray[np.int16], possible: bool = True
    ) -> bool:
        """Take the next frame; say whether a person talks.

        Args:
            left: 20 ms at 16 kHz, without the echo.
            microphone: the same with the echo.
            reference: what was played.
            possible: whether they may have begun now, from what else is known.
        """
        self._left.append(left)
        self._played.append(reference)
        self._wait -= 1
        voiced = self._voiced.feed(left, microphone)
        if voiced and not self._talking:
            if self._wait <= 0 and possible and self._hears_itself():
                self._wait = _NOT_AGAIN_FRAMES
            if self._wait > 0 or not possible:
                self._voiced.rest()
                return False
        self._talking = voiced
        return voiced

    def doubt(self) -> None:
        """Believe for half a second that what is voiced is Pipit."""
        self._voiced.rest()
        self._talking, self._wait = False, _NOT_AGAIN_FRAMES

    def _hears_itself(self) -> bool:
        if self._slipped():
            return True
        left, played = (np.concatenate(frames).astype(np.float32) for frames in (self._left, self._played))
        return likeness(left, played, _EARLY).prominence > PROMINENT

    def rest(self) -> None:
        """Nobody can talk over a loudspeaker that is silent."""
        self._voiced.rest()
        self._talking = False
        for frames in (self._left, self._played):
            frames.extend([_SILENCE] * (frames.maxlen or 0))


_SILENCE = np.zeros(HEARING_RATE_HZ // 50, np.int16)
