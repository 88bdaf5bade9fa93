"""Two echo cancellers side by side, each for what it is good at: you may talk over Pipit, and its own voice does not interrupt it.

AEC3 lets almost nothing of Pipit pass, but presses the person down as well; behind it a voice activity detector decides whether a
person is talking. The linear canceller leaves the person whole, but something of Pipit too. So the service hears the linear one
while a person talks; some frames are held back for it, because it takes that long to notice. Otherwise it is AEC3's turn, and it
is told that nobody talks: a service that hears a reply's rest takes it for a person now and then, however quiet it is, because a
suppressor's output jumps between noise and nothing. The wake word engine, which does not mistake a rest of Pipit for its word,
always hears the linear canceller, and the proof what both leave when nobody talks.

Where the linear canceller was seen to leave next to nothing (`echo.trust`), a second detector behind it may decide as well: it
hears a person at the level of the echo 70 ms sooner, and one 10 dB below it always, instead of three times in four.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipit.echo import Canceller, Cleaned
from pipit.echo.aec3 import Aec3
from pipit.echo.cancelling import FRAME, Cancelling, ProvenSettings
from pipit.echo.linear import Linear
from pipit.echo.memory import Memory
from pipit.echo.proof import power
from pipit.echo.talking import Talking, Voiced
from pipit.echo.trust import Trust

LOOK_BACK_FRAMES = 12
"""What is held back until it is known whether a person talks: 240 ms. Who talks at the level of the echo is then
heard whole eleven times in twelve, 5 dB below it five times in six; with 120 ms everybody's first syllable was cut."""

PERSON_SHARE = 10**-1.5
"""A person is whole in what the linear canceller leaves: of those who talked 10 dB below the echo never less than 13 dB below the
microphone; what AEC3 had left of the echo, and was voiced, was 18 dB below and more."""

RINGING_FRAMES = 10
"""So long after the loudspeaker fell silent there is nothing to take out of the sound: 0.2 s. Who answers a cue is heard whole."""

LATELY_FRAMES = 50
"""Who has been talking within this time, 1 s, is believed to go on at the least sign of it: the soft parts of a sentence."""

LEAK_SHARE = 2.0
"""AEC3 leaks where it leaves 3 dB more than the linear canceller; in mere noise the two are alike, and it does not flutter."""

_FADE_IN: NDArray[np.float32] = ((np.arange(FRAME) + 0.5) / FRAME).astype(np.float32)


@dataclass(frozen=True)
class Settings(ProvenSettings):
    """A linear canceller and AEC3."""


def build(settings: Settings) -> Canceller:
    """Return the canceller."""
    return Hybrid(settings.floor_db)


class Hybrid(Cancelling):
    """The linear canceller, AEC3, and what decides behind them: loosely which of the two is heard, strictly who talks."""

    def __init__(self, floor_db: float) -> None:
        super().__init__(floor_db)
        self._linear = Linear()
        self._aec3 = Aec3()
        self._gate = Voiced(mode=2, needed=3, window=5, hold=15, above_noise_db=3.0, quietest_dbfs=-62.0, below_heard_db=36.0)
        self._surely = Talking(needed=5, slipped=self._linear.slipped)
        self._quickly = Talking(slipped=self._linear.slipped)
        self._trust = Trust()
        self._powers: deque[tuple[float, float]] = deque(maxlen=8)  # of the linear canceller and the microphone
        self._talks = False
        self._last_left: NDArray[np.int16] | None = None
        self._held: deque[tuple[NDArray[np.int16], NDArray[np.int16]]] = deque()
        self._slips = 0
        self._lately = 0  # for so many frames more a person may go on
        self._audible = 0  # for so many frames more the person is in what comes out
        self._person = 0.0  # share of the linear canceller in the last frame of speech

    def remember(self, memory: Memory) -> bool:
        """See `pipit.echo.Canceller`."""
        used = self._linear.remember(memory)
        self.drift, self.lag_s = self._linear.drift, self._linear.lag_s
        return used

    def begin(self) -> None:
        """See `Cancelling`."""
        self._linear.quiet()
        self._aec3.quiet()
        self._gate.rest()
        self._surely.rest()
        self._quickly.rest()
        self._powers.clear()
        self._talks, self._last_left, self._person, self._lately, self._audible = False, None, 0.0, 0, 0

    def work(self, microphone: NDArray[np.int16], reference: NDArray[np.int16]) -> Cleaned:
        """See `Cancelling`."""
        linear = self._linear.step(microphone, reference, talking=self._talks)
        self.drift, self.lag_s = self._linear.drift, self._linear.lag_s
        left, self._last_left = self._last_left, self._aec3.step(microphone, reference)
        person = self._listen(linear, self._last_left, microphone, reference)
        if left is not None:  # the linear canceller is one frame late
            self._held.append((linear, left))
        self._audible = LOOK_BACK_FRAMES + 1 if person else self._audible - 1
        clear = self._audible > 0 or self._silent > RINGING_FRAMES + LOOK_BACK_FRAMES
        if len(self._held) < LOOK_BACK_FRAMES:
            return Cleaned(linear[:0], linear[:0], self._talks, clear)
        leaks = self._leaks()
        linear, left = self._held.popleft()
        speech = self._blend(linear, left, 1.0 if clear or leaks else 0.0)
        return Cleaned(speech, linear, self._talks, clear, linear if leaks else left)

    def _leaks(self) -> bool:
        """Whether AEC3 leaves more than the linear canceller: it takes a second to find an echo that has moved."""
        return sum(power(left) for _, left in self._held) > LEAK_SHARE * sum(power(linear) for linear, _ in self._held)

    def _listen(
        self, linear: NDArray[np.int16], left: NDArray[np.int16], microphone: NDArray[np.int16], reference: NDArray[np.int16]
    ) -> bool:
        """Decide whether a person talks; return whether one may still, so that the service should hear the linear canceller."""
        self._powers.append((power(linear), power(microphone)))
        whole = sum(p for p, _ in self._powers) > PERSON_SHARE * sum(p for _, p in self._powers)
        perhaps = self._gate.feed(left, microphone)
        surely = self._surely.feed(left, microphone, reference, possible=whole)
        quickly = self._quickly.feed(linear, microphone, reference)
        slipped, self._slips = self._linear.slips > self._slips, self._linear.slips
        if slipped:
            self._lately = self._audible = 0
            self._surely.doubt()
            self._quickly.doubt()
            self._gate.rest()
            self._powers.clear()
            perhaps = surely = quickly = False
        self._trust.feed(microphone, linear, reference, surely or quickly)
        trusted = quickly and bool(self._trust)
        self._talks = surely or (trusted and perhaps)
        self._lately = LATELY_FRAMES if surely or trusted else self._lately - 1
        return surely or trusted or (perhaps and self._lately > 0)

    def finish(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """See `Cancelling`."""
        self.memory = self._linear.memory or self.memory
        if self._last_left is not None:
            self._held.append((self._linear.rest(), self._last_left))
        ears = [linear for linear, _ in self._held]
        speech = [self._blend(linear, left, 1.0) for linear, left in self._held]  # nothing sounds any more: both are the microphone
        self._held.clear()
        return np.concatenate(speech), np.concatenate(ears)

    def _blend(self, linear: NDArray[np.int16], left: NDArray[np.int16], person: float) -> NDArray[np.int16]:
        before, self._person = self._person, person
        if before == person:
            return linear if person else left
        share = before + (person - before) * _FADE_IN
        return np.rint(share * linear + (1 - share) * left).astype(np.int16)
