"""Sound in which nobody says a wake word: licences read aloud, spoken prompts in five languages, music, noise. The same every time.

Debian's asterisk-core-sounds (people: English, Spanish, French, Italian, Russian) and asterisk-moh-opsound (music) are fetched with
apt-get into `build/` and unpacked there, not installed: their 8 kHz hold all that the wake word's models look at, which is below
3.8 kHz. The licences are on every Debian system.
"""

from __future__ import annotations

import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipit.audio.wav import read_wav
from tests.bench.corpus import FLITE
from tests.speech import Samples, level, noise, render, resample
from tests.wake import stock

RATE_HZ = 16000
PIECE_S = 60.0

PROMPTS = tuple(f"asterisk-core-sounds-{language}-wav" for language in ("en", "es", "fr", "it", "ru"))
MUSIC = "asterisk-moh-opsound-wav"
LICENCES = Path("/usr/share/common-licenses")

_VOICES = ("en-gb", "en-us+f3", "de", "en-us-nyc+m3", "fr", "en-gb-x-rp+f2", "es", "en-gb+m7", "it", "ru", "en-us+m1", "nl")
_ESPEAK_EVERY = 4  # of five pieces read aloud: flite takes ten times as long


def sounds(hours: float) -> Iterator[tuple[str, Samples]]:
    """Yield pieces of about a minute, (what it is, samples at 16 kHz), until there are so many hours of them.

    Of five pieces two are read aloud, two are spoken by people while there are any, and one is music or noise.

    Raises:
        stock.Unavailable: apt-get cannot fetch the recordings.
    """
    people, music = prompts(), songs()
    reading, noises = read_aloud(), noise_of_all_kinds()
    left = hours * 3600
    for index in itertools.count():
        sources = (people, reading, people, reading, music if index % 2 else noises)
        for source in sources:
            piece = next(source, None) or next(reading)
            yield piece
            left -= len(piece[1]) / RATE_HZ
            if left <= 0:
                return


def read_aloud() -> Iterator[tuple[str, Samples]]:
    """Yield the licences, read by one voice after the other, for ever."""
    texts = [text for path in sorted(LICENCES.iterdir()) if not path.is_symlink() for text in _paragraphs(path)]
    for index in itertools.count():
        flite = index % (_ESPEAK_EVERY + 1) == _ESPEAK_EVERY
        voices = FLITE if flite else _VOICES
        voice = voices[(index // 2) % len(voices)]
        random = np.random.default_rng([7, index])
        speed, pitch, dbfs = int(random.integers(130, 200)), int(random.integers(20, 80)), float(random.uniform(-40, -20))
        text = texts[int(random.integers(len(texts)))]
        yield ("flite" if flite else "espeak-ng"), render(text, voice, speed, pitch, RATE_HZ, dbfs)


def _paragraphs(path: Path) -> list[str]:
    """Return a licence in pieces of about 900 letters, a minute of speech."""
    words = re.findall(r"[A-Za-z][A-Za-z',.;:-]*", path.read_text(errors="replace"))
    pieces = [" ".join(words[start : start + 150]) for start in range(0, len(words), 150)]
    return [piece for piece in pieces if len(piece) > 500]


def prompts() -> Iterator[tuple[str, Samples]]:
    """Yield what people recorded for telephone systems, in pieces of a minute, the languages in turns."""
    languages = [_minutes(sorted(_fetched(package).rglob("*.wav"))) for package in PROMPTS]
    for pieces in itertools.zip_longest(*languages):
        for package, piece in zip(PROMPTS, pieces, strict=True):
            if piece is not None:
                yield f"people, {package.split('-')[3]}", piece


def songs() -> Iterator[tuple[str, Samples]]:
    """Yield music, in pieces of a minute."""
    return (("music", piece) for piece in _minutes(sorted(_fetched(MUSIC).rglob("*.wav"))))


def noise_of_all_kinds() -> Iterator[tuple[str, Samples]]:
    """Yield noise and hum, for ever."""
    for index in itertools.count():
        kind = ("room", "pink", "white", "hum")[index % 4]
        dbfs = (-55, -40, -25)[(index // 4) % 3]
        if kind == "hum":
            time = np.arange(round(PIECE_S * RATE_HZ)) / RATE_HZ
            yield (
                "noise",
                level(sum((np.sin(2 * np.pi * hz * time) / hz for hz in (50, 100, 150, 250, 1000)), np.zeros(len(time))), dbfs),
            )
        else:
            yield "noise", noise(PIECE_S, RATE_HZ, dbfs, index, kind)


def _minutes(paths: list[Path]) -> Iterator[Samples]:
    """Yield recordings one after the other, with 0.3 s between them, in pieces of at least a minute."""
    gathered: list[Samples] = []
    for path in paths:
        samples, rate_hz = read_wav(path)
        if len(samples) < rate_hz // 5:
            continue  # beeps and single letters
        gathered += [_as_heard(samples[:, 0], rate_hz), noise(0.3, RATE_HZ, -60)]
        while sum(map(len, gathered)) >= PIECE_S * RATE_HZ:
            whole = np.concatenate(gathered)
            yield whole[: round(PIECE_S * RATE_HZ)]
            gathered = [whole[round(PIECE_S * RATE_HZ) :]]


def _as_heard(samples: Samples, rate_hz: int) -> Samples:
    return np.clip(np.round(resample(samples, rate_hz, RATE_HZ)), -32768, 32767).astype(np.int16)


def _fetched(package: str) -> Path:
    """Return where a Debian package lies unpacked; fetches it the first time.

    Raises:
        stock.Unavailable: apt-get cannot fetch it.
    """
    folder = stock.BUILD / package
    if not folder.exists():
        stock.BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=stock.BUILD) as name:
            scratch = Path(name)
            done = subprocess.run(["apt-get", "download", package], cwd=scratch, capture_output=True, text=True, check=False)
            found = list(scratch.glob("*.deb"))
            if done.returncode or not found:
                raise stock.Unavailable(f"apt-get cannot download {package}: {done.stderr.strip()}")
            subprocess.run(["dpkg-deb", "-x", str(found[0]), str(scratch / "unpacked")], check=True)
            (scratch / "unpacked").rename(folder)
    return folder
