"""A corpus of wake words: many voices, speeds, pitches and levels, in noise, through devices of several rates. The same every time.

The voices are those of Debian's espeak-ng, flite and, where it is installed, festival. Nothing of it is stored but in the cache of
`tests.speech`; a seed says all.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass

import numpy as np

from pipit.core.pcm import HEARING_RATE_HZ, Resampler
from tests.speech import Samples, level, noise, resample, say

PHRASES = {"hey_jarvis": "hey jarvis", "alexa": "alexa"}

ESPEAK = ("en-gb", "en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
VARIANTS = ("", "+f1", "+f2", "+f3", "+f4", "+m1", "+m3", "+m5", "+m7", "+klatt2")
FLITE = ("flite:slt", "flite:rms", "flite:awb", "flite:kal16", "flite:kal")
FESTIVAL = ("festival:kal_diphone", "festival:ked_diphone")

TALKERS = ("en-us+m2", "en-gb+f5", "flite:rms", "flite:slt", "en-us+m4")
CHATTER = (
    "The kettle is on the stove and the bread is in the oven, and nobody has set the table yet.",
    "Tomorrow it will rain, they say, but the day after will be fine, so we might as well go then.",
    "Did you hear what the neighbours said about the garden fence? I could not believe it.",
)

BEFORE_S, AFTER_S = 4.0, 1.5
"""Around the word: enough for a voice detector to get used to the room."""


ROOM_DBFS = -65.0
FAINT_DBFS, FAINT_ROOM_DBFS = -55.0, -75.0
"""Somebody far away from a microphone whose gain is low: as faint as a voice detector can be expected to notice."""


@dataclass(frozen=True)
class Utterance:
    """One wake word as somebody says it."""

    word: str
    voice: str
    speed: int
    pitch: int
    dbfs: float
    offset_s: float
    """Where it begins beyond `BEFORE_S`: anywhere within a frame of 80 ms."""
    seed: int


@dataclass(frozen=True)
class Condition:
    """Where it is said, and what it is heard with."""

    kind: str
    """ "quiet" (a room at -65 dBFS), "faint" (said at -55 dBFS in a room at -75), "white", "pink" or "babble" (five talkers)."""
    snr_db: float | None
    """Level of the word over that of the noise; None where it is quiet or faint."""
    rate_hz: int
    """Of the microphone."""

    def __str__(self) -> str:
        return self.kind if self.snr_db is None else f"{self.kind}, {self.snr_db:g} dB"


CONDITIONS = tuple(
    Condition(kind, snr_db, rate_hz)
    for rate_hz in (44100, 48000)
    for kind, snrs in (
        ("quiet", (None,)),
        ("faint", (None,)),
        ("white", (20, 10, 5)),
        ("pink", (20, 10, 5)),
        ("babble", (20, 10, 5)),
    )
    for snr_db in snrs
)


def utterances(count: int, seed: int = 1) -> list[Utterance]:
    """Return so many utterances, drawn from all voices; a longer list begins with the shorter one."""
    festival = FESTIVAL if shutil.which("text2wave") else ()
    made = []
    for index in range(count):
        random = np.random.default_rng([seed, index])
        espeak = f"{random.choice(ESPEAK)}{random.choice(VARIANTS)}"
        recorded = str(random.choice(FLITE + FESTIVAL))
        voice = espeak if random.random() < 0.7 or recorded in set(FESTIVAL) - set(festival) else recorded
        speed, pitch = int(random.integers(125, 196)), int(random.integers(15, 86))
        word = tuple(PHRASES)[index % len(PHRASES)]
        made.append(Utterance(word, voice, speed, pitch, float(random.uniform(-45, -20)), float(random.uniform(0, 0.08)), index))
    return made


def heard(utterance: Utterance, condition: Condition) -> tuple[Samples, float]:
    """Return what the ears get, at 16 kHz, and where the word's last sound ends, in seconds."""
    clip = say(PHRASES[utterance.word], utterance.voice, utterance.speed, utterance.pitch)
    start_s = BEFORE_S + utterance.offset_s
    end_s = start_s + len(clip) / HEARING_RATE_HZ
    seconds = end_s + AFTER_S
    rate_hz = condition.rate_hz
    faint = condition.kind == "faint"
    spoken = level(resample(clip, HEARING_RATE_HZ, rate_hz), FAINT_DBFS if faint else utterance.dbfs)
    if condition.snr_db is None:
        sound = noise(seconds, rate_hz, FAINT_ROOM_DBFS if faint else ROOM_DBFS, utterance.seed).astype(np.int32)
    else:
        sound = background(condition.kind, seconds, rate_hz, utterance.dbfs - condition.snr_db, utterance.seed).astype(np.int32)
    start = round(start_s * rate_hz)
    sound[start : start + len(spoken)] += spoken
    recorded = np.clip(sound, -32768, 32767).astype(np.int16)
    return Resampler(rate_hz, HEARING_RATE_HZ).process(recorded), end_s


def background(kind: str, seconds: float, rate_hz: int, dbfs: float, seed: int) -> Samples:
    """Return noise of a level: "white", "pink", "room" or "babble"."""
    if kind != "babble":
        return noise(seconds, rate_hz, dbfs, seed, kind)
    count = round(seconds * rate_hz)
    random = np.random.default_rng(seed)
    sum_ = np.zeros(count)
    for voice in TALKERS:
        talk = np.concatenate([say(text, voice, rate_hz=rate_hz) for text in CHATTER])
        start = int(random.integers(len(talk)))
        sum_ += np.resize(np.roll(talk, -start), count)
    return level(sum_, dbfs)


def recorded(samples: Samples, condition: Condition, seed: int) -> Samples:
    """Return a real recording at 16 kHz under a condition, with the noise before and after it as well."""
    faint = condition.kind == "faint"
    clip = (level(samples, FAINT_DBFS) if faint else samples).astype(np.int32)
    rms_dbfs = 10 * np.log10(np.mean(samples.astype(float) ** 2) / 32768**2 + 1e-12)
    kind, dbfs = ("room", FAINT_ROOM_DBFS) if condition.snr_db is None else (condition.kind, rms_dbfs - condition.snr_db)
    seconds = BEFORE_S + len(clip) / HEARING_RATE_HZ + AFTER_S
    sound = background(kind, seconds, HEARING_RATE_HZ, dbfs, seed).astype(np.int32)
    start = round(BEFORE_S * HEARING_RATE_HZ)
    sound[start : start + len(clip)] += clip
    return np.clip(sound, -32768, 32767).astype(np.int16)
