"""The speech gate: the wake word is looked for only while somebody may be speaking.

A voice detector costs a fortieth of the wake word's models. While it hears no voice, the models stand still, frozen as they are,
and the last seconds of sound are kept; when it hears one, the models first catch up on as much of what was kept as a score depends
on. So no score while the gate is open differs from one without a gate, and nothing of a wake word is missed, since it is voice.

No gate may make Pipit deaf. So now and then it is opened although there is no voice, and best when it is louder than it was: should
a wake word then be heard, the gate was wrong, which is reported, and it stays open from then on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np

from pipit.vad import FRAME, RATE_HZ, Vad
from pipit.wake import Engine, Wake
from pipit.wake.framewise import Frames

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer
    from numpy.typing import NDArray

HOLD_MS = 960
"""How long the gate stays open after the last voice. With half of it, 15 of 1864 detections in 261 recordings were lost; with this,
none."""

CHECK_MS = 2000
"""How long a check lasts: a wake word spoken slowly, and the 0.5 s that its recognition may take."""

CHECK_EVERY_S = 600.0
"""One check for so much time asleep. It costs what 4 s of speech cost: 0.7 % of a gate that is always open."""

_CHECKS_SAVED = 6
"""So many checks are saved up for when it grows louder; what is beyond is checked whatever there is to hear."""

_CHECKS_AT_FIRST = 3

_LOUDER = 4.0
"""Power over that of the last seconds that is worth a check: 6 dB. Frames of steady noise vary by 1 dB."""

_LOOK_EVERY, _EVERY = 4, 4
"""Of so many frames of the engine one is looked at, which with 80 ms is oftener than wake words are long; and of so many samples in
it one tells how loud it is. Looking at every frame was an eighth of what a quiet room costs."""

_BACKGROUND_LOOKS = 16  # 5 s

_PIECE_BYTES = 2 * FRAME

_BURST_FRAMES = 2
"""Frames of the engine that are computed at the most for 20 ms of sound. With 80 ms frames it catches up 25 of them in 80 ms of
sound for every 8, 0.3 s after the voice began and before any wake word ends, and a Raspberry Pi Zero 2 W keeps up with its
microphone meanwhile (4 to 6 ms a frame, estimated)."""


class Gated:
    """An engine behind a gate: a `pipit.wake.Detector`.

    Args:
        engine: the wake word engine; its frames must hold whole frames of the voice detector.
        mode: the voice detector's, 0 to 3; see `pipit.vad.Vad`.
        missed: takes a wake word that the gate would have held back, from the thread that detects.

    Raises:
        ConfigError: the voice detector is not installed.
        ValueError: the engine's frames are of another length.
    """

    def __init__(self, engine: Engine, mode: int, missed: Callable[[Wake], None]) -> None:
        if engine.frame % FRAME:
            raise ValueError(f"an engine with frames of {engine.frame} samples cannot be gated: must be whole frames of {FRAME}")
        self.words = engine.words
        self.broken = False
        """Whether it was wrong once and stays open."""
        self.checks = 0
        """How often it was opened without a voice."""
        self._engine = engine
        self._vad = Vad(mode)
        self._missed = missed
        self._pieces = Frames(FRAME)
        self._frame_pieces = engine.frame // FRAME
        self._hold_frames, self._check_frames = (round(ms * RATE_HZ / 1000 / engine.frame) for ms in (HOLD_MS, CHECK_MS))
        self._kept: deque[bytes] = deque(maxlen=-(-engine.look_back // engine.frame))
        self._due: deque[tuple[bytes, bool]] = deque()
        self._doubt = Doubt(CHECK_EVERY_S * RATE_HZ / engine.frame)
        self._close()

    @property
    def open(self) -> bool:
        """Whether the wake word is looked for."""
        return self._left > 0

    def detect(self, block: NDArray[np.int16] | ReadableBuffer, *, interrupting: bool = False) -> Wake | None:
        """Feed the next samples: mono int16 at 16 kHz, an array or any buffer, any number of them.

        Args:
            block: the samples.
            interrupting: whether a word would interrupt Pipit's own voice.

        Returns the strongest word that was recognised within this block, or None.

        Raises:
            ValueError: the block does not hold whole int16 samples.
        """
        samples = memoryview(cast("ReadableBuffer", block))  # numpy declares its buffer protocol only from Python 3.12 on
        if samples.nbytes == _PIECE_BYTES and self._pieces.empty and samples.format in ("h", "B"):
            return self._take(samples.tobytes(), interrupting)  # as `Hearing` feeds it
        strongest: Wake | None = None
        for piece in self._pieces.feed(samples):
            wake = self._take(bytes(piece), interrupting)
            if wake is not None and (strongest is None or wake.score > strongest.score):
                strongest = wake
        return strongest

    def _take(self, piece: bytes, interrupting: bool) -> Wake | None:
        """Take one frame of the voice detector."""
        if self._vad.is_speech(piece):
            self._checking = False
            self._stay_open(self._hold_frames)
        frame = self._frame
        frame.append(piece)
        if len(frame) == self._frame_pieces:
            self._keep(b"".join(frame))
            frame.clear()
        return self._compute(interrupting) if self._due else None

    def near_miss(self) -> Wake | None:
        """See `pipit.wake.Detector`."""
        return self._engine.near_miss()

    def scores(self) -> dict[str, float]:
        """Return the latest score of each word; 0 while the gate is closed."""
        return self._engine.scores() if self.open else dict.fromkeys(self.words, 0.0)

    def reset(self) -> None:
        """Forget the sound heard so far, and the background of the voice detector; a gate that was wrong stays open."""
        self._engine.reset()
        self._vad.reset()
        self._pieces.reset()
        self._kept.clear()
        self._due.clear()
        self._close()

    def close(self) -> None:
        """Free the models. May be called twice; nothing can be detected afterwards."""
        self._engine.close()

    def _close(self) -> None:
        self._frame: list[bytes] = []
        self._left = 0
        self._asleep_frames = 0
        self._checking = False

    def _stay_open(self, frames: int) -> None:
        """Open the gate, if it is not, until so many frames have passed beyond the one that is being filled."""
        if not self._left:
            self._engine.skip(self._engine.frame * (self._asleep_frames - len(self._kept)))
            self._due.extend((frame, False) for frame in self._kept)
            self._kept.clear()
            self._asleep_frames = 0
        self._left = frames + 1

    def _keep(self, frame: bytes) -> None:
        """Take a whole frame: for the engine, or for later."""
        if not self._left and self._doubt.feed(frame):
            self.checks += 1
            self._checking = True
            self._stay_open(self._check_frames)
        if not self._left:
            self._kept.append(frame)
            self._asleep_frames += 1
            return
        self._due.append((frame, True))
        if not self.broken:
            self._left -= 1

    def _compute(self, interrupting: bool) -> Wake | None:
        wake = None
        for _ in range(min(_BURST_FRAMES, len(self._due))):
            frame, wanted = self._due.popleft()
            if not wanted:
                self._engine.follow(frame)
                continue
            wake = self._engine.detect(frame, interrupting=interrupting) or wake
        if wake is not None and self._checking and not self.broken:
            self.broken = True
            self._missed(wake)
        return wake


class Doubt:
    """Decides when to open a gate that hears no voice.

    Args:
        every_frames: how many frames must pass for each check.
    """

    def __init__(self, every_frames: float) -> None:
        self._every_frames = every_frames
        self._saved = _CHECKS_AT_FIRST * every_frames
        self._unseen = 0
        self._background = 0.0

    def feed(self, frame: bytes) -> bool:
        """Take the next frame without voice; return whether a check should begin with it."""
        self._saved += 1
        self._unseen += 1
        if self._unseen < _LOOK_EVERY:
            return False
        self._unseen = 0
        samples = np.frombuffer(frame, np.int16)[::_EVERY].astype(np.float32)
        power = float(samples.dot(samples))
        louder = power > _LOUDER * self._background > 0
        self._background += (power - self._background) / (_BACKGROUND_LOOKS if self._background else 1)
        if self._saved < (1 if louder else _CHECKS_SAVED) * self._every_frames:
            return False
        self._saved -= self._every_frames
        return True
