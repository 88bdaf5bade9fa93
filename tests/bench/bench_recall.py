"""How many wake words are heard with the speech gate and without: the same ones, as early.

Run: python -m tests.bench.bench_recall            or: make bench RECORDINGS=DIR ARGS=recall

The corpus is generated (tests/bench/corpus.py): UTTERANCES of them (60 unless told otherwise in the environment) under each of
eleven conditions, at 44.1 and 48 kHz. RECORDINGS names a folder with a folder of recordings for each word (alexa/*.wav,
jarvis/*.flac, ...; sox reads them), which go through the same conditions. Without a gate, the engine's scores are the openwakeword
package's own (`bench_equality`), so it is the reference. Fails where the gate loses a word, or is later by more than a frame.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipit.gate import Gated
from pipit.wake import Detector, openwakeword
from pipit.wake.openwakeword import Settings, Word
from tests.bench import corpus
from tests.bench.corpus import Condition
from tests.speech import Samples, blocks

BLOCK, FRAME_S = 320, 0.08


class Ears:
    """The same engine twice: with a gate and without."""

    def __init__(self, words: Iterable[str]) -> None:
        settings = Settings(words=tuple(map(Word, words)))
        self.free = openwakeword.build(settings)
        self.gated = Gated(openwakeword.build(settings), 1, self._note)
        self.caught_by_check = 0

    def hear(self, sound: Samples, word: str | None) -> tuple[float | None, float | None]:
        """Return when the word (None: any) was first heard, without a gate and with it, in seconds."""
        return self._first(self.free, sound, word), self._first(self.gated, sound, word)

    def _first(self, ears: Detector, sound: Samples, word: str | None) -> float | None:
        ears.reset()
        for count, block in enumerate(blocks(sound, [BLOCK]), 1):
            wake = ears.detect(block)
            if wake is not None and word in (None, wake.word):
                return count * BLOCK / 16000
        return None

    def _note(self, wake: object) -> None:
        self.caught_by_check += 1


@dataclass
class Tally:
    """What became of the utterances of one row."""

    all: int = 0
    free: int = 0
    gated: int = 0
    lost: int = 0
    gained: int = 0
    later_frames: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)

    def add(self, free_s: float | None, gated_s: float | None, end_s: float | None) -> None:
        self.all += 1
        self.free += free_s is not None
        self.gated += gated_s is not None
        self.lost += free_s is not None and gated_s is None
        self.gained += free_s is None and gated_s is not None
        if free_s is not None and gated_s is not None:
            self.later_frames.append((gated_s - free_s) / FRAME_S)
        if gated_s is not None and end_s is not None:
            self.delays_ms.append(1000 * (gated_s - end_s))

    def row(self, title: str) -> str:
        later = f"{max(self.later_frames, default=0):.2f}"
        delay = f"{statistics.median(self.delays_ms):.0f}" if self.delays_ms else "-"
        share = f"{100 * self.gated / self.all:.0f} %" if self.all else "-"
        return f"| {title} | {self.all} | {self.free} | {self.gated} ({share}) | {self.lost} | {self.gained} | {later} | {delay} |"

    @property
    def equal(self) -> bool:
        return self.lost == 0 and max(self.later_frames, default=0) <= 1


HEAD = "| | utterances | ungated | gated | lost | gained | later at most, frames | ms after the end, median |\n" + "|---" * 8 + "|"


def generated(count: int) -> Iterator[tuple[str, Tally]]:
    """Yield a row for each condition."""
    ears = Ears(corpus.PHRASES)
    for condition in corpus.CONDITIONS:
        tally = Tally()
        for utterance in corpus.utterances(count):
            sound, end_s = corpus.heard(utterance, condition)
            tally.add(*ears.hear(sound, utterance.word), end_s)
        yield f"{condition}, {condition.rate_hz / 1000:g} kHz", tally
    sys.stdout.write(f"| caught by a check of the gate | {ears.caught_by_check} |\n")


def recorded(folder: Path) -> Iterator[tuple[str, Tally]]:
    """Yield a row for each word and condition."""
    ears = Ears(corpus.PHRASES)
    for word in sorted(path for path in folder.iterdir() if path.is_dir()):
        clips = [clip for path in sorted(word.glob("*.*")) if len(clip := read(path))]
        rows: dict[Condition, Tally] = defaultdict(Tally)
        for condition in corpus.CONDITIONS[: len(corpus.CONDITIONS) // 2]:
            for index, clip in enumerate(clips):
                rows[condition].add(*ears.hear(corpus.recorded(clip, condition, index), None), None)
            yield f"{word.name}: {condition}", rows[condition]


def read(path: Path) -> Samples:
    """Return a recording at 16 kHz; empty where sox cannot read it."""
    command = ["sox", str(path), "-t", "raw", "-e", "signed", "-b", "16", "-r", "16000", "-c", "1", "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    return np.frombuffer(done.stdout, np.int16)


def main() -> int:
    """Print the tables; return 1 if the gate loses anything."""
    rows = [generated(int(os.environ.get("UTTERANCES", "60")))]
    if folder := os.environ.get("RECORDINGS"):
        rows.append(recorded(Path(folder)))
    equal = True
    for table in rows:
        sys.stdout.write(HEAD + "\n")
        for title, tally in table:
            equal &= tally.equal
            sys.stdout.write(tally.row(title) + "\n")
            sys.stdout.flush()
        sys.stdout.write("\n")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
