"""What the wake word engine heard around wakes and near misses, as short WAV files: for `pipit wake tune`, if the owner wants them.

Nothing of it leaves the device. A file is named after what happened, "false-hey_jarvis-0.62-20260131T184502.wav":

    wake      Pipit woke, and it is not known yet what came of it
    heard     Pipit woke, and the person went on to speak
    false     Pipit woke, and nobody spoke
    near      a word came near its threshold
    missed    it did so, and shortly afterwards Pipit was woken: probably somebody who had to say it twice
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipit.audio.wav import write_wav
from pipit.core.events import Event, UserStopped, WakeHeard
from pipit.core.machine import CONVERSING, State
from pipit.core.pcm import HEARING_RATE_HZ
from pipit.core.ring import Ring
from pipit.wake import Wake

KINDS = ("wake", "heard", "false", "near", "missed")

CLIP_S = 5.0
"""Length of a file: what the last score depends on (2 s), the longest wake word, and `_AFTER_S`."""

_AFTER_S = 0.5
"""How much of it comes after the event: a score goes on rising after it has crossed the threshold."""

AGAIN_S = 10.0
"""A wake within this time after a near miss is taken for the second attempt."""

_NAME = re.compile(r"(?P<kind>[a-z]+)-(?P<word>.+)-(?P<score>\d\.\d\d)-(?P<time>\d{8}T\d{6})(-\d+)?\.wav")


class Clip(NamedTuple):
    """A file that was kept."""

    path: Path
    kind: str
    word: str
    score: float


def read(folder: Path) -> list[Clip]:
    """List what a folder holds, oldest first; files with other names are left alone.

    Raises:
        OSError: the folder cannot be looked into; one that does not exist holds nothing.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match["kind"] in KINDS:
            found.append((match["time"], name, Clip(folder / name, match["kind"], match["word"], float(match["score"]))))
    return [clip for _, _, clip in sorted(found, key=lambda each: each[:2])]


class Clips:
    """Keeps the files: a `pipit.hearing.Witness`. Writes in a thread of its own, since a memory card may take a second.

    Args:
        folder: where they go; made if it is missing.
        most: how many are kept; the oldest go first.
        complain: takes a reason why nothing can be kept, once; called from any thread.
        clock: seconds, for how much time passes between events.
    """

    def __init__(self, folder: Path, most: int, complain: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._folder = folder
        self._most = most
        self._complain = complain
        self._clock = clock
        self._ring = Ring(round(CLIP_S * HEARING_RATE_HZ))
        self._coming: list[tuple[int, str, Wake]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="clips")
        self._open = False  # nothing has come of the latest wake yet
        self._undecided: Path | None = None
        self._near: tuple[float, Path] | None = None
        self._complained = False

    # -- from the dsp thread ----------------------------------------------------------------------------------------------------

    def hear(self, ears: NDArray[np.int16]) -> None:
        """Take the next frame that the engine hears."""
        self._ring.write(ears)
        while self._coming and self._ring.written >= self._coming[0][0]:
            _, kind, wake = self._coming.pop(0)
            samples = self._ring.read(self._ring.oldest, self._ring.written)
            self._writer.submit(self._write, kind, wake, samples, self._clock())

    def woke(self, wake: Wake) -> None:
        """Take a wake word that counted."""
        self._expect("wake", wake)

    def missed(self, near: Wake) -> None:
        """Take a near miss."""
        self._expect("near", near)

    def _expect(self, kind: str, wake: Wake) -> None:
        self._coming.append((self._ring.written + round(_AFTER_S * HEARING_RATE_HZ), kind, wake))

    # -- from the main thread -----------------------------------------------------------------------------------------------------

    def changed(self, state: State, event: Event) -> None:
        """Take a change of the machine's state: it shows what came of the latest wake."""
        if isinstance(event, WakeHeard):
            self._open = True
        elif self._open and (state is State.HEARING or isinstance(event, UserStopped)):
            self._outcome("heard")
        elif self._open and state is State.IDLE:
            self._outcome("false")
        elif state not in CONVERSING:
            self._open = False  # a failure or a muted microphone says nothing about it

    def _outcome(self, kind: str) -> None:
        self._open = False
        self._writer.submit(self._decide, kind)

    def close(self) -> None:
        """Wait for what is being written."""
        self._writer.shutdown()

    # -- in the writing thread -----------------------------------------------------------------------------------------------------

    def _write(self, kind: str, wake: Wake, samples: NDArray[np.int16], at_s: float) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._free(f"{kind}-{wake.word}-{min(wake.score, 0.99):.2f}-{time.strftime('%Y%m%dT%H%M%S')}")
            write_wav(path, samples, HEARING_RATE_HZ)
            if kind == "near":
                self._near = at_s, path
            else:
                self._undecided = path
                self._missed_before(at_s)
            for clip in read(self._folder)[: -self._most]:
                clip.path.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    def _free(self, name: str) -> Path:
        """Return a path of this name, or of the next, where there is none yet."""
        paths = (self._folder / f"{name}{suffix}.wav" for suffix in ("", *(f"-{number}" for number in range(2, 100))))
        return next(path for path in paths if not path.exists())

    def _missed_before(self, at_s: float) -> None:
        if self._near is not None and at_s - self._near[0] < AGAIN_S:
            self._rename(self._near[1], "missed")
        self._near = None

    def _decide(self, kind: str) -> None:
        path, self._undecided = self._undecided, None
        if path is not None:
            try:
                self._rename(path, kind)
            except OSError as error:
                self._give_up(error)

    def _rename(self, path: Path, kind: str) -> None:
        if path.exists():  # else the owner has removed it, or it was one too many
            path.rename(path.with_name(f"{kind}-{path.name.partition('-')[2]}"))

    def _give_up(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            self._complain(f"near misses cannot be kept in {self._folder}: {error.strerror or error}")
