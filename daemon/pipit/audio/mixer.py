"""What the loudspeaker plays: one stream of speech, short sounds beside it, and the volume.

Speech is addressed by absolute position: the number of speech samples since the mixer was made. Positions only grow. Silence and
short sounds have no position.

Threads. The main thread writes speech and gives orders; the playback thread calls `pull` and nothing else. Nobody waits for the
other, because each field has exactly one writer (see `__init__`). What the main thread wants is one immutable `Orders`, replaced as
a whole, so `pull` never sees half a change. Orders are marks in the stream ("everything before this position is dropped"), not
commands in a queue: giving one twice does no harm.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import SILENCE_DBFS
from pipit.core.ring import Ring

FADE_MS = 5
"""How long speech takes to rise when it starts and to fall when it stops: too short to be missed, too long to click."""

VOLUME_RAMP_MS = 15
"""How long the volume takes from one end to the other."""

LONGEST_PREBUFFER_MS = 240

DUCK_DB = 20.0
"""How much quieter speech is while somebody seems to talk over it: clearly out of the way, and still going on if it was a cough."""
DUCK_MS = 20
UNDUCK_MS = 250
"""How long it takes to fall and to rise: down at once, up gently."""

CUE_UNDER_SPEECH_DB = 8.0
"""How much quieter short sounds are while speech plays."""

CEILING_DBFS = -1.0
"""No peak goes beyond this: where speech and short sounds add up to more, all is turned down for a moment. A clipped loudspeaker is
what an echo canceller cannot learn."""
RELEASE_MS = 80
_CHUNK_MS = 1
_MOST_CUES_WAITING = 3
_CUE_GAIN_UNDER_SPEECH = 10 ** (-CUE_UNDER_SPEECH_DB / 20)


def volume_gain(percent: float) -> float:
    """Return the factor for a volume setting of 0 to 100: its cube, as PulseAudio maps per cent to gain; 50 % is -18 dB."""
    return (min(100.0, max(0.0, percent)) / 100) ** 3


class Orders(NamedTuple):
    """What the main thread wants: positions in the stream of speech."""

    written: int = 0
    begun_at: int = 0
    """Where the newest utterance begins."""
    ended_at: int = 0
    """How far speech is complete."""
    discard_to: int = 0
    """What lies before this is dropped."""


class Mixer:
    """Mixes for one loudspeaker: mono int16.

    Speech starts once `prebuffer_ms` of it are there, or all of it (`end`). Where it runs dry before its end, the loudspeaker gets
    silence, and the next time twice as much is waited for, up to 240 ms, until the utterance is over.

    Args:
        rate_hz: sample rate of everything in here.
        volume: 0 to 100.
        prebuffer_ms: how much speech is there before it starts to play.
        capacity_s: how much speech can wait, and how much of `reference` is kept.
    """

    def __init__(self, rate_hz: int, *, volume: float = 60, prebuffer_ms: float = 60, capacity_s: float = 4.0) -> None:
        self.rate_hz = rate_hz
        self.reference = Ring(round(capacity_s * rate_hz))
        """Exactly what `pull` returned, silence included; the playback thread writes it."""
        self._capacity = round(capacity_s * rate_hz)
        self._speech = np.zeros(self._capacity, np.int16)
        self._cues: deque[NDArray[np.int16]] = deque()  # append and popleft are atomic
        self._base_prebuffer = min(self._capacity, round(prebuffer_ms * rate_hz / 1000))
        self._longest_prebuffer = min(self._capacity, max(self._base_prebuffer, LONGEST_PREBUFFER_MS * rate_hz // 1000))
        self._fade_step = 1000 / (FADE_MS * rate_hz)
        self._volume_step = 1000 / (VOLUME_RAMP_MS * rate_hz)
        self._duck_step, self._unduck_step = 1000 / (DUCK_MS * rate_hz), 1000 / (UNDUCK_MS * rate_hz)
        self._ceiling = 32768 * 10 ** (CEILING_DBFS / 20)
        self._chunk = max(1, _CHUNK_MS * rate_hz // 1000)
        self._release = _CHUNK_MS / RELEASE_MS
        # written by the main thread
        self._orders = Orders()
        self._volume = float(volume)
        self._duck_to = 1.0
        # written by the playback thread
        self._played = 0
        self._playing = False
        self._dry = False  # the utterance stopped for want of samples
        self._utterance = 0  # `Orders.begun_at` as `pull` last saw it
        self._prebuffer = self._base_prebuffer
        self._gaps = 0
        self._envelope = 0.0  # gain of the speech: 0 before it starts, 1 while it plays
        self._gain = volume_gain(volume)
        self._ducked = 1.0  # gain of the speech under a person's
        self._cue_gain = 1.0
        self._limit = 1.0  # gain of the limiter
        self._last = 0.0  # last sample of speech that was mixed
        self._residue = 0.0  # where speech stopped; falls to zero, see `_settle`
        self._sounding: list[NDArray[np.int16]] = []  # what is left of each short sound
        self._mean_square = 0.0
        self._allocate(8192)

    # -- main thread ------------------------------------------------------------------------------------------------------------

    @property
    def free(self) -> int:
        """How many samples of speech can be written now."""
        return self._capacity - (self._orders.written - self._played)

    @property
    def written(self) -> int:
        """Position after the last sample of speech that was written."""
        return self._orders.written

    @property
    def played(self) -> int:
        """Position after the last sample of speech that was handed to the device, or dropped."""
        return self._played

    @property
    def volume(self) -> float:
        """The volume as set, 0 to 100."""
        return self._volume

    @property
    def gaps(self) -> int:
        """How often speech ran dry and went on later."""
        return self._gaps

    @property
    def level_dbfs(self) -> float:
        """RMS level of the last block that was pulled, at least -120."""
        if self._mean_square == 0:
            return SILENCE_DBFS
        return max(SILENCE_DBFS, 10 * math.log10(self._mean_square / 32768**2))

    def write(self, samples: NDArray[np.int16]) -> int:
        """Append speech; return the position after it.

        Raises:
            ValueError: more than `free`.
        """
        count = len(samples)
        if count > self.free:
            raise ValueError(f"{count} samples of speech, but only {self.free} fit; look at `free` before writing")
        written, begun_at, ended_at, discard_to = self._orders
        at = written % self._capacity
        until_end = min(count, self._capacity - at)
        self._speech[at : at + until_end] = samples[:until_end]
        self._speech[: count - until_end] = samples[until_end:]
        if count and ended_at == written:
            begun_at = written
        self._orders = Orders(written + count, begun_at, ended_at, discard_to)
        return written + count

    def end(self) -> None:
        """Say that the utterance is complete: all that is there is played, however little. The next `write` begins another."""
        self._orders = self._orders._replace(ended_at=self._orders.written)

    def discard(self) -> None:
        """Drop all speech written so far: the next `pull` fades it out. What is written from now on is another utterance."""
        self._orders = self._orders._replace(ended_at=self._orders.written, discard_to=self._orders.written)

    def cue(self, samples: NDArray[np.int16]) -> None:
        """Play a short sound beside the speech, from the next `pull` on; several may overlap.

        Where nothing pulls because the loudspeaker is gone, only the first few wait for it.
        """
        if len(self._cues) >= _MOST_CUES_WAITING:
            return
        self._cues.append(samples)

    def set_volume(self, percent: float) -> None:
        """Set the volume, 0 to 100 (clamped); it acts within the next `pull`, in 15 ms."""
        self._volume = min(100.0, max(0.0, float(percent)))

    def duck(self, db: float = DUCK_DB) -> None:
        """Make the speech quieter by so much until `unduck`; within the next `pull`, in 20 ms."""
        self._duck_to = 10 ** (-abs(db) / 20)

    def unduck(self) -> None:
        """Let the speech be heard again, in 250 ms."""
        self._duck_to = 1.0

    # -- playback thread --------------------------------------------------------------------------------------------------------

    def pull(self, frames: int) -> NDArray[np.int16]:
        """Return the next `frames` samples for the loudspeaker, valid until the next call. Never waits, never raises."""
        if frames > len(self._out):
            self._allocate(frames)
        out = self._out[:frames]
        work = self._work[:frames]
        work.fill(0)
        sounds = self._add_speech(work)
        sounds = self._add_cues(work) or sounds
        target = volume_gain(self._volume)
        if sounds:
            self._gain = self._scale(work, self._gain, target, self._volume_step)
            self._turn_down(work)
            np.clip(work, -32768, 32767, out=work)
            np.rint(work, out=work)
            np.copyto(out, work, casting="unsafe")
            self._mean_square = float(np.dot(work, work)) / max(1, frames)
        else:
            self._gain, self._limit = target, 1.0
            out.fill(0)
            self._mean_square = 0.0
        self.reference.write(out)
        return out

    def _allocate(self, frames: int) -> None:
        self._out = np.zeros(frames, np.int16)
        self._work = np.zeros(frames, np.float32)
        self._ramp = np.zeros(frames, np.float32)
        self._cues_mixed = np.zeros(frames, np.float32)
        self._counting = np.arange(1, frames + 1, dtype=np.float32)

    def _add_speech(self, work: NDArray[np.float32]) -> bool:
        """Put the next speech into a silent block; say whether there was any."""
        orders = self._orders
        if orders.begun_at != self._utterance:
            self._utterance, self._prebuffer, self._dry = orders.begun_at, self._base_prebuffer, False
        was_playing = self._playing
        filled = self._drop(work, orders) if self._played < orders.discard_to else self._play(work, orders)
        residue = self._residue
        self._residue = self._settle(work, residue)
        sounded = filled > 0 or was_playing
        if sounded and not self._playing:
            self._envelope = 0.0
            self._residue += self._settle(work[filled:], self._last)
            self._last = 0.0
        return sounded or residue != 0

    def _drop(self, work: NDArray[np.float32], orders: Orders) -> int:
        """Fade the discarded speech out; return how much of the block it fills."""
        filled = self._take(work, orders.discard_to, target=0.0) if self._playing else 0
        if self._envelope == 0 or not self._playing or self._played == orders.discard_to:
            self._played, self._playing = orders.discard_to, False
        return filled

    def _play(self, work: NDArray[np.float32], orders: Orders) -> int:
        """Go on with the utterance, or start it; return how much of the block it fills."""
        if not self._playing:
            self._playing = self._may_start(orders)
            self._ducked = self._duck_to
        if not self._playing:
            return 0
        limit = orders.begun_at if self._played < orders.begun_at else orders.written
        filled = self._take(work, limit, target=1.0)
        short = filled < len(work)
        self._playing = not short and self._played != orders.begun_at
        self._dry = short and self._played == orders.written != orders.ended_at
        return filled

    def _may_start(self, orders: Orders) -> bool:
        waiting = orders.written - self._played
        if waiting == 0:
            return False
        if self._dry:  # there was a gap, and the utterance goes on after it
            self._dry = False
            self._gaps += 1
            self._prebuffer = min(2 * self._prebuffer, self._longest_prebuffer)
        return waiting >= self._prebuffer or orders.ended_at > self._played

    def _take(self, work: NDArray[np.float32], limit: int, *, target: float) -> int:
        """Copy speech up to the position `limit` to the start of a block, fading towards `target`; return how much."""
        count = min(len(work), limit - self._played)
        at = self._played % self._capacity
        until_end = min(count, self._capacity - at)
        work[:until_end] = self._speech[at : at + until_end]
        work[until_end:count] = self._speech[: count - until_end]
        self._envelope = self._scale(work[:count], self._envelope, target, self._fade_step)
        duck_to = self._duck_to
        duck_step = self._duck_step if duck_to < self._ducked else self._unduck_step
        self._ducked = self._scale(work[:count], self._ducked, duck_to, duck_step)
        if count:
            self._last = float(work[count - 1])
        self._played += count
        return count

    def _settle(self, work: NDArray[np.float32], residue: float) -> float:
        """Add a fall from `residue` to zero, because speech that just stops would click; return what is left for the next block."""
        if residue == 0 or len(work) == 0:
            return residue
        fall = self._ramp[: len(work)]
        np.multiply(self._counting[: len(work)], -self._fade_step * 32768, out=fall)
        fall += abs(residue)
        np.maximum(fall, 0, out=fall)
        np.copysign(fall, residue, out=fall)
        work += fall
        return float(fall[-1])

    def _add_cues(self, work: NDArray[np.float32]) -> bool:
        while self._cues:
            self._sounding.append(self._cues.popleft())
        if not self._sounding:
            self._cue_gain = _CUE_GAIN_UNDER_SPEECH if self._playing else 1.0
            return False
        left, cues = [], self._cues_mixed[: len(work)]
        cues.fill(0)
        for cue in self._sounding:
            count = min(len(work), len(cue))
            cues[:count] += cue[:count]
            if count < len(cue):
                left.append(cue[count:])
        self._sounding = left
        under_speech = _CUE_GAIN_UNDER_SPEECH if self._playing else 1.0
        self._cue_gain = self._scale(cues, self._cue_gain, under_speech, self._volume_step)
        work += cues
        return True

    def _turn_down(self, work: NDArray[np.float32]) -> None:
        """Keep the block below the ceiling by a gain that moves in straight lines, never beyond what each millisecond needs.

        Only the first millisecond of a block is not seen before it comes; what is too loud there is left to the headroom.
        """
        if self._limit == 1 and max(work.max(), -work.min()) <= self._ceiling:
            return
        starts = np.arange(0, len(work), self._chunk)
        needed = np.minimum(1.0, self._ceiling / np.maximum(np.maximum.reduceat(np.abs(work), starts), 1.0))
        gains = [self._limit]
        for now, then in zip(needed, [*needed[1:], 1.0], strict=True):
            gains.append(min(gains[-1] + self._release, now, then))
        self._limit = float(gains[-1])
        work *= np.interp(np.arange(1, len(work) + 1), [*starts, len(work)], gains).astype(np.float32)

    def _scale(self, block: NDArray[np.float32], gain: float, target: float, step: float) -> float:
        """Multiply by a gain that moves towards `target` by `step` a sample; return where it ended."""
        if gain == target:
            if gain != 1:
                block *= gain
            return gain
        ramp = self._ramp[: len(block)]
        rising = target > gain
        np.multiply(self._counting[: len(block)], step if rising else -step, out=ramp)
        ramp += gain
        (np.minimum if rising else np.maximum)(ramp, target, out=ramp)
        block *= ramp
        reached = abs(target - gain) <= step * len(block)
        return target if reached else float(ramp[-1])
