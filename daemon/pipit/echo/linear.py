"""The linear canceller with all that it needs in a real room: Kalman filter, clock drift loop, and a search for lost alignment.

It takes out what is the reference, bent and filtered, and nothing else; so a person who talks is left whole, however loud Pipit is.
What it leaves of the echo is pressed down afterwards.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from pipit.core.distortion import Distortion
from pipit.core.drift import DriftLoop, movement
from pipit.core.kalman import MOVING, STILL, KalmanFilter, moved
from pipit.core.likeness import likeness
from pipit.core.pcm import HEARING_RATE_HZ
from pipit.core.residual import ResidualSuppressor
from pipit.echo.louder import Louder
from pipit.echo.memory import Memory

FRAME = HEARING_RATE_HZ // 50
TAIL_S = 0.2
"""How long the echo may be. In a room that rings for 0.35 s a tail of 60 ms removes 22 dB, one of 140 ms 27 dB, 200 ms 27.6."""

_SEARCH_FRAMES = 25
_SEARCH_REACH = 640  # samples, either way: 40 ms, two periods of a sound card
_URGENT_FRAMES = 10
_BAD = 0.25  # of the microphone's power left: something is wrong, or a person talks, or the room is new
_GOOD = 0.05
_BETTER = 0.5  # so much of what is left now would be left elsewhere
_JUMP = 8  # samples: what moves less may be the drift of a clock, and the loop has to see it
_USELESS = 0.8  # as good as nothing is removed
_LOST = 4  # searches in a row that found nothing, after which a filter that is useless is learnt from the beginning: 2 s of sound
_LOUD = 1e-7  # mean power: -70 dBFS

_DELAY_FRAMES = 75  # 1.5 s
_DELAY_REACH = HEARING_RATE_HZ // 2
_AIM = 160  # samples: where a found echo is put, 10 ms after the reference
_EARLIEST, _LATEST = 16, 1600  # samples after the reference where an echo may begin, and the filter still holds most of the room
_PROMINENT = 9.0  # less than `talking.PROMINENT`, for two in agreement are needed
_AGREE = 32


class Linear:
    """Cancels frame by frame: 20 ms at 16 kHz. Floats are relative to full scale."""

    def __init__(self) -> None:
        self.lag_s = 0.0
        """How much later than the reference comes now it should come, in all; see `pipit.echo.Canceller`."""
        self._filter = KalmanFilter(FRAME, round(TAIL_S * HEARING_RATE_HZ / FRAME))
        self._distortion = Distortion(FRAME)
        self._suppressor = ResidualSuppressor(FRAME)
        self._loop = DriftLoop(HEARING_RATE_HZ)
        self._echoes: deque[NDArray[np.float32]] = deque(maxlen=_SEARCH_FRAMES)
        self._microphones: deque[NDArray[np.float32]] = deque(maxlen=_DELAY_FRAMES)
        self._references: deque[NDArray[np.float32]] = deque(maxlen=_DELAY_FRAMES + _DELAY_REACH // FRAME)
        self._louder = Louder()
        self._since_search = 0
        self._lost = 0  # searches in a row that found nothing
        self._known = False  # the filter has been seen to work
        self._best: NDArray[np.float32] | None = None  # the filter when it worked well
        self._suspected: int | None = None
        self.slips = 0
        """How often the echo was found elsewhere, and followed."""

    @property
    def drift(self) -> float:
        """How much faster than nominal the reference should be read, as a fraction."""
        return self._loop.drift

    @property
    def memory(self) -> Memory | None:
        """What is worth keeping, once the filter has worked."""
        return Memory(self._filter.response, self._loop.drift, self.lag_s, self._distortion.bends) if self._known else None

    def remember(self, memory: Memory) -> bool:
        """Start from what was known, unless it is of another shape; say whether it was."""
        if memory.response.shape != self._filter.response.shape:
            return False
        self._filter.know(memory.response)
        self._distortion.bends = memory.bends
        self._filter.keep(STILL)
        self._loop.know(memory.drift)
        self.lag_s = memory.lag_s
        self._known, self._best = True, memory.response
        return True

    @property
    def works(self) -> bool:
        """Whether the filter has learnt the room."""
        return self._known

    def quiet(self) -> None:
        """Begin anew after a time without sound."""
        self._filter.quiet()
        self._distortion.quiet()
        self._suppressor.quiet()
        self._louder.rest()
        self._loop.interrupt()
        self._echoes.clear()
        self._microphones.clear()
        self._references.clear()
        self._since_search = 0

    def step(self, microphone: NDArray[np.int16], reference: NDArray[np.int16], *, talking: bool) -> NDArray[np.int16]:
        """Take the next frame of both; return the frame before without the echo.

        Args:
            microphone: what was heard.
            reference: what was played.
            talking: whether a person was talking lately: nothing is concluded about alignment and clocks meanwhile.
        """
        heard, played = _float(microphone), self._distortion.play(_float(reference), self._filter.weights)
        left, echo = self._filter.step(played, heard), self._filter.echo
        self._distortion.learn(self._filter.error, self._filter.innovation)
        self._echoes.append(echo)
        if self._louder.feed(float(np.dot(left, left)) / FRAME, float(np.dot(heard, heard)) / FRAME):
            left, echo = heard, np.zeros(FRAME, np.float32)  # the filter unlearns it by itself
        self._microphones.append(heard)
        self._references.append(played)
        self._watch(float(np.dot(played, played)) / FRAME > _LOUD, talking)
        return _int16(self._suppressor.step(left, echo))

    def rest(self) -> NDArray[np.int16]:
        """Return the last frame, which `step` still holds back."""
        nothing = np.zeros(FRAME, np.float32)
        return _int16(self._suppressor.step(nothing, nothing))

    def _watch(self, sounding: bool, talking: bool) -> None:
        due = self._loop.pass_time(FRAME / HEARING_RATE_HZ, sounding=sounding and not talking)
        if due:
            self._loop.look(self._filter.response)
            self._filter.keep(STILL if self._loop.settled else MOVING)
        self._since_search += sounding
        if self._since_search >= _SEARCH_FRAMES:
            self._since_search = 0
            self._search(talking)

    def _search(self, talking: bool) -> None:
        """Look whether the echo is still where the filter expects it."""
        count = len(self._echoes)
        echo = np.concatenate(self._echoes)
        heard = np.concatenate(list(self._microphones)[-count:])
        heard_power = float(np.dot(heard, heard))
        left_share = float(np.dot(heard - echo, heard - echo)) / max(heard_power, 1e-12)
        if heard_power < _LOUD * len(heard):
            return
        if left_share < _BAD:
            self._known, self._suspected, self._lost = True, None, 0
            if left_share < _GOOD or self._best is None:
                self._best = self._filter.response
            return
        if self._best is not None and self._go_back(self._best, heard, left_share):
            return
        if not talking:
            self._doubt(left_share)
            self._find_delay()

    def _go_back(self, best: NDArray[np.float32], heard: NDArray[np.float32], left_share: float) -> bool:
        """Take the filter that was good before, as loud and as late as it fits now, if that is much better; True if it is.

        Samples that were lost or inserted somewhere move the echo against the reference, somebody turns a knob, and what was learnt
        since is wrong.
        """
        blocks = (len(heard) + len(best)) // FRAME
        played = np.concatenate(list(self._references)[-blocks:])
        later = movement(_echo(played, best, len(heard)), heard, _SEARCH_REACH)
        if later is None:
            return False
        there = moved(best, later)
        echo = _echo(played, there, len(heard))  # without what was moved beyond the ends
        gain = float(np.dot(echo, heard)) / max(float(np.dot(echo, echo)), 1e-12)
        left = heard - gain * echo
        if float(np.dot(left, left)) > _BETTER * left_share * float(np.dot(heard, heard)):
            return False
        self._filter.know(np.float32(gain) * there)
        self._lost = 0
        if abs(later) > _JUMP:
            self._loop.interrupt()
        self.slips += 1
        return True

    def slipped(self) -> bool:
        """Look at once whether the echo has just moved, because something voiced is left; follow it, and say so, if it has."""
        if self._best is None or len(self._echoes) < _URGENT_FRAMES:
            return False
        echo, heard = (np.concatenate(list(frames)[-_URGENT_FRAMES:]) for frames in (self._echoes, self._microphones))
        left_share = float(np.dot(heard - echo, heard - echo)) / max(float(np.dot(heard, heard)), 1e-12)
        return left_share > _BAD and self._go_back(self._best, heard, left_share)

    def _doubt(self, left_share: float) -> None:
        """Learn anew: from what is known, for the room has changed, or from nothing, for it is another."""
        if not self._known:
            return
        self._lost += 1
        if self._lost >= _LOST and left_share > _USELESS:
            self._forget()
        else:
            self._filter.know(self._filter.response)

    def _forget(self) -> None:
        self._filter.reset()
        self._filter.keep(MOVING)
        self._loop.unsettle()
        self._known, self._lost = False, 0

    def _find_delay(self) -> None:
        """Look for the echo far from where the stamps put it: sound systems have buffers that they do not tell of."""
        if len(self._references) < (self._references.maxlen or 0):
            return
        heard = np.concatenate(self._microphones)
        played = np.concatenate(self._references)
        lag, prominence = likeness(heard, played, _DELAY_REACH)  # before its cause: what was found once may be gone
        if prominence < _PROMINENT:
            self._suspected = None
            return
        agrees = self._suspected is not None and abs(lag - self._suspected) <= _AGREE
        self._suspected = lag
        if agrees and not _EARLIEST <= lag <= _LATEST:
            self.lag_s += (lag - _AIM) / HEARING_RATE_HZ
            self._forget()
            self._suspected, self._best = None, None
            self.quiet()


def _echo(played: NDArray[np.float32], response: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return the last `count` samples of what was played, as it is heard through an impulse response."""
    size = 2 * len(played)
    whole = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(response, size))
    return whole[len(played) - count : len(played)].astype(np.float32)


def _float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return samples.astype(np.float32) * np.float32(1 / 32768)


def _int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
