"""A simulated room with a loudspeaker, a microphone and a person: generated and seeded, nothing downloaded.

Image-method impulse responses (J. B. Allen, D. A. Berkley, "Image method for efficiently simulating small-room acoustics", JASA
65, 1979), a loudspeaker that is a band-pass with a limit, device delay that shows in the time stamps, two clocks that drift
against each other, and noise. Everything is 16 kHz.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipit.core.align import Line
from pipit.core.ring import Ring
from tests import speech

RATE_HZ = 16000
FRAME = 320
SIZE_M = (4.5, 3.5, 2.6)
MICROPHONE_M = np.array((1.2, 0.9, 0.9))
SOUND_M_S = 343.0
ECHO_DBFS = -26.0
"""Active level of the echo at the microphone."""

SLIP_S = 9.0
"""How often the echo moves, where it does."""

Wave = NDArray[np.float64]
Limit = Literal["soft", "hard", "lopsided", "travel"]

FAR_VOICES = ("en-us", "flite:slt", "en-gb", "flite:rms")
NEAR_VOICES = ("en-us+f3", "flite:awb", "en-gb+m4", "flite:kal16", "en-us+f2", "en-gb-scotland")

FAR_TEXTS = (
    "Once upon a time there was a small bird that lived at the edge of a wide green meadow, and every morning it sang to the sun.",
    "The weather tomorrow will be mostly cloudy with some rain in the afternoon, and the temperature will reach fourteen degrees.",
    "To make the dough you mix the flour with warm water, add a spoon of oil and some salt, and let it rest for about an hour.",
    "The river begins high in the mountains, runs past three old towns and reaches the sea after two hundred kilometres.",
    "I have set a timer for twenty minutes. While you wait, I could tell you something about the history of the clock.",
    "Many people think that bats are blind, but they see quite well; in the dark they listen to the echo of their own calls.",
    "Your next appointment is on Thursday at half past nine. Would you like me to remind you an hour before it begins?",
    "The orchestra tuned their instruments, the lights went down, and for a moment nobody in the great hall dared to breathe.",
)
NEAR_TEXTS = (
    "stop please that is enough",
    "what time is it",
    "no I meant the other one",
    "wait a moment could you repeat that",
    "thank you that was all",
    "turn the volume down a little",
    "tell me about something else",
    "how far is it to the station",
)


@dataclass(frozen=True)
class Scene:
    """What the room is like."""

    name: str
    delay_ms: float = 60
    drive: float = 0.5
    """How hard the loudspeaker is driven into its limit: 0 is linear, 1 about 5 % of distortion, 3 is heavy."""
    limit: Limit = "soft"
    """How the limit is; see `LIMITS`."""
    drift_ppm: float = 0
    reverberation_s: float = 0.35
    noise_db: float = -40
    """Relative to the echo."""
    echo_dbfs: float = ECHO_DBFS
    slip_ms: float = 0.0
    """By how much the echo comes later, then earlier again, every `SLIP_S`, untold by the stamps: a sound system that stumbles."""
    seed: int = 1


@dataclass
class Take:
    """What was played and heard, sample by sample."""

    reference: NDArray[np.int16]
    microphone: NDArray[np.int16]
    near: Wave
    """The person alone, at the microphone, full scale 1."""
    echo: Wave
    scene: Scene
    onsets: list[tuple[float, float]] = field(default_factory=list)
    """When the person begins and ends to talk, in seconds."""


def take(scene: Scene, seconds: float, clips: list[tuple[float, NDArray[np.int16]]] | None = None, near_db: float = 0.0) -> Take:
    """Record a scene.

    Args:
        scene: the room.
        seconds: how long Pipit talks without a break.
        clips: what the person says and when.
        near_db: active level of the person at the microphone, relative to that of the echo.
    """
    rng = np.random.default_rng(scene.seed)
    far = _far(seconds, scene.seed)
    to_echo, to_person = responses(scene.reverberation_s)
    played = loudspeaker(far, scene.drive, scene.limit)
    echo = _slip(_delay(_convolve(played, to_echo), scene.delay_ms / 1000, scene.drift_ppm), scene.slip_ms)
    echo *= 10 ** (scene.echo_dbfs / 20) / active_rms(echo)
    near, onsets = np.zeros(len(far)), []
    for start_s, clip in clips or []:
        said = _convolve(np.concatenate((clip / 32768, np.zeros(RATE_HZ // 4))), to_person)
        said *= 10 ** ((scene.echo_dbfs + near_db) / 20) / active_rms(said)
        start = round(start_s * RATE_HZ)
        stop = min(len(near), start + len(said))
        near[start:stop] += said[: stop - start]
        onsets.append((start_s, start_s + len(clip) / RATE_HZ))
    noise = speech.noise(seconds, RATE_HZ, -40, scene.seed + 100) / 32768
    noise *= 10 ** ((scene.echo_dbfs + scene.noise_db) / 20) / np.sqrt(np.mean(noise**2))
    del rng
    return Take(_int16(far), _int16(near + echo + noise[: len(far)]), near, echo, scene, onsets)


class Wires:
    """The two streams of a take with their time stamps, as `pipit.audio.Device` gives them: jitter, block by block.

    Args:
        made: the take.
        jitter_s: standard deviation of a stamp.
    """

    def __init__(self, made: Take, jitter_s: float = 0.0002) -> None:
        self.played = Ring(4 * RATE_HZ)
        self._made = made
        self._rng = np.random.default_rng(made.scene.seed + 7)
        self._jitter_s = jitter_s
        self._heard_line, self._played_line = Line(RATE_HZ), Line(RATE_HZ)
        self._handed = 0
        self._captured = 0
        self._ahead = round(0.04 * RATE_HZ)  # blocks are handed over two periods before they sound
        for _ in range(3 + self._ahead // FRAME):
            self._hand()

    def frame(self) -> tuple[NDArray[np.int16], float]:
        """Return the next frame of the microphone and its position."""
        self._hand()
        at = self._captured
        self._heard_line.add(at, at / RATE_HZ + self._jitter())
        self._captured += FRAME
        return self._made.microphone[at : at + FRAME], float(at)

    def reference_at(self, captured: float) -> float | None:
        return self._played_line.index(self._heard_line.time(captured))

    def _hand(self) -> None:
        at, scene = self._handed, self._made.scene
        # The echo of sample n is heard at sample n / (1 + drift) + delay.
        sounds_s = at / RATE_HZ / (1 + scene.drift_ppm * 1e-6) + scene.delay_ms / 1000
        self._played_line.add(at, sounds_s + self._jitter())
        block = self._made.reference[at : at + FRAME]
        self.played.write(np.concatenate((block, np.zeros(FRAME - len(block), np.int16))))
        self._handed += FRAME

    def _jitter(self) -> float:
        return float(self._rng.normal(0, self._jitter_s))


def _lopsided(samples: Wave, drive: float) -> Wave:
    """Return what a limit makes of it that is nearer on one side: a cone that does not rest in the middle."""
    rest = np.tanh(0.5)
    return (np.tanh(drive * samples / 0.5 + 0.5) - rest) / drive * 0.5 / (1 - rest**2)


def _travel(samples: Wave, drive: float) -> Wave:
    """Return what a force that weakens as the cone travels makes of it, below 400 Hz that is: no law of single samples."""
    s = 1j * np.fft.rfftfreq(len(samples), 1 / (3 * RATE_HZ)) / 400
    travelled = np.fft.irfft(np.fft.rfft(samples) / (s**2 + 1.414 * s + 1), len(samples))
    travelled /= np.abs(travelled).max()
    return samples * (1 - 0.25 * drive * (travelled**2 + 0.3 * travelled))


LIMITS: dict[Limit, Callable[[Wave, float], Wave]] = {
    "soft": lambda samples, drive: np.tanh(drive * samples / 0.5) / drive * 0.5,
    "hard": lambda samples, drive: np.clip(samples, -0.5 / drive, 0.5 / drive),
    "lopsided": _lopsided,
    "travel": _travel,
}


def loudspeaker(samples: Wave, drive: float, limit: Limit) -> Wave:
    """Play through a small loudspeaker: a limit and a band of 150 Hz to 7.5 kHz. The limit works at three times the rate."""
    tripled = speech.resample(samples, RATE_HZ, 3 * RATE_HZ)
    if drive > 0:
        tripled = LIMITS[limit](tripled, drive)
    spectrum = np.fft.rfft(tripled)
    hz = np.fft.rfftfreq(len(tripled), 1 / (3 * RATE_HZ))
    low = 1 / (1 + (150 / np.maximum(hz, 1)) ** 4) ** 0.5 * np.exp(1j * np.arctan2(150 * 1.414 * hz, hz**2 - 150**2 + 1e-9))
    spectrum *= low
    spectrum[hz > 7500] = 0
    return speech.resample(np.fft.irfft(spectrum, len(tripled)), 3 * RATE_HZ, RATE_HZ)[: len(samples)]


@functools.lru_cache(maxsize=8)
def responses(reverberation_s: float) -> tuple[Wave, Wave]:
    """Return the impulse responses from the loudspeaker, 8 cm away, and from a person at 2 m; both begin with the direct sound."""
    loudspeaker_m = MICROPHONE_M + np.array((0.048, 0.02, -0.06))
    person_m = MICROPHONE_M + np.array((1.5, 1.2, 0.6))
    length = round(min(0.5, 1.2 * reverberation_s) * RATE_HZ)
    return _images(loudspeaker_m, reverberation_s, length), _images(person_m, reverberation_s, length)


def _images(source_m: Wave, reverberation_s: float, length: int) -> Wave:
    """Sum the images of a source in a shoebox; equal walls, absorption by Eyring's formula."""
    size = np.array(SIZE_M)
    volume, surface = float(np.prod(size)), 2 * float(size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    reflection = np.exp(-0.5 * 0.161 * volume / (surface * reverberation_s))
    reach = np.ceil(length / RATE_HZ * SOUND_M_S / (2 * size)).astype(int) + 1
    axes = []
    for axis in range(3):
        n = np.arange(-reach[axis], reach[axis] + 1)
        same = 2 * n * size[axis] + source_m[axis] - MICROPHONE_M[axis]
        other = 2 * n * size[axis] - source_m[axis] - MICROPHONE_M[axis]
        axes.append((np.concatenate((same, other)), np.concatenate((np.abs(2 * n), np.abs(2 * n - 1)))))
    (x, i), (y, j), (z, k) = axes
    distance = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2).ravel()
    bounces = (i[:, None, None] + j[None, :, None] + k[None, None, :]).ravel()
    first = distance.min()
    at = (distance - first) / SOUND_M_S * RATE_HZ + 8
    keep = at < length - 9
    at, strength = at[keep], (reflection ** bounces[keep]) / distance[keep]
    response = np.zeros(length)
    whole = np.floor(at).astype(int)
    for tap in range(-7, 9):  # a windowed sinc puts each image between the samples
        offset = whole + tap - at
        np.add.at(response, whole + tap, strength * np.sinc(offset) * (0.5 + 0.5 * np.cos(np.pi * np.clip(offset / 8, -1, 1))))
    return response / np.abs(response).max()


def _convolve(samples: Wave, response: Wave) -> Wave:
    size = 1 << (len(samples) + len(response)).bit_length()
    return np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: len(samples)]


def _delay(samples: Wave, delay_s: float, ppm: float) -> Wave:
    """Return y(t) = x((t - delay) * (1 + ppm)), by a windowed sinc."""
    position = (np.arange(len(samples)) - delay_s * RATE_HZ) * (1 + ppm * 1e-6)
    whole = np.floor(position).astype(int)
    padded = np.concatenate((np.zeros(32), samples, np.zeros(32 + max(0, int(position[-1]) - len(samples) + 1))))
    result = np.zeros(len(samples))
    for tap in range(-15, 17):
        offset = whole + tap - position
        inside = whole + tap > -32
        weight = np.sinc(offset) * (0.5 + 0.5 * np.cos(np.pi * np.clip(offset / 16, -1, 1)))
        result += np.where(inside, padded[np.clip(whole + tap + 32, 0, len(padded) - 1)], 0) * weight
    return result


def _slip(samples: Wave, slip_ms: float) -> Wave:
    late = round(slip_ms * RATE_HZ / 1000)
    moved = np.concatenate((np.zeros(late), samples))[: len(samples)]
    second = np.arange(len(samples)) // round(SLIP_S * RATE_HZ) % 2 == 1
    return np.where(second, moved, samples)


@functools.lru_cache(maxsize=8)
def _far(seconds: float, seed: int) -> Wave:
    """Return Pipit talking: sentences of one voice after the other, with short pauses, peak at half of full scale."""
    rng = np.random.default_rng(seed)
    parts: list[Wave] = [np.zeros(round(0.2 * RATE_HZ))]
    length = 0
    while length < seconds * RATE_HZ:
        for text in rng.permutation(len(FAR_TEXTS)):
            voice = FAR_VOICES[int(rng.integers(len(FAR_VOICES)))]
            clip = speech.say(FAR_TEXTS[text], voice, 165) / 32768
            parts += [clip, np.zeros(round(rng.uniform(0.15, 0.5) * RATE_HZ))]
            length += sum(map(len, parts[-2:]))
    whole = np.concatenate(parts)[: round(seconds * RATE_HZ)]
    return whole * (0.5 / np.abs(whole).max())


def near_clips(count: int, seed: int) -> list[NDArray[np.int16]]:
    """Return things that a person says over Pipit."""
    rng = np.random.default_rng(seed)
    pairs = [(text, voice) for text in NEAR_TEXTS for voice in NEAR_VOICES]
    return [speech.say(*pairs[k], 160) for k in rng.permutation(len(pairs))[:count]]


def active_rms(samples: Wave) -> float:
    """Return the level of the loud parts: frames within 25 dB of the loudest."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    powers = np.mean(frames**2, axis=1)
    return float(np.sqrt(powers[powers > np.percentile(powers, 95) * 10**-2.5].mean()))


def _int16(samples: Wave) -> NDArray[np.int16]:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
