"""How often a wake word is heard that nobody said, with the speech gate and without.

Run: python -m tests.bench.bench_false_accepts     or: make bench HOURS=12 ARGS=false_accepts

HOURS of other speech, music and noise (tests/bench/other_speech.py); three and a quarter unless told otherwise in the environment,
which takes two minutes. Fails if the gate lets more through than there is without one, or if hey_jarvis is heard at all.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter

from pipit.gate import Gated
from pipit.wake import openwakeword
from pipit.wake.openwakeword import Settings, Word
from tests.bench.other_speech import RATE_HZ, sounds
from tests.speech import blocks
from tests.wake import stock

WORDS = ("hey_jarvis", "alexa")
BARS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
APART_FRAMES = 20


class Crossings:
    """Counts how often a score rises over each of several thresholds; within 1.6 s it is the same time."""

    def __init__(self) -> None:
        self.counts: Counter[float] = Counter()
        self._quiet = dict.fromkeys(BARS, 0)

    def feed(self, score: float) -> None:
        for bar in BARS:
            self._quiet[bar] = max(0, self._quiet[bar] - 1)
            if score >= bar and not self._quiet[bar]:
                self.counts[bar] += 1
                self._quiet[bar] = APART_FRAMES


def main() -> int:
    """Print the tables; return 1 if there are too many."""
    hours = float(os.environ.get("HOURS", "3.25"))
    settings = Settings(words=tuple(map(Word, WORDS)))
    free, engine = openwakeword.build(settings), openwakeword.build(settings)
    checks: list[object] = []
    gated = Gated(engine, 1, checks.append)
    heard: Counter[tuple[str, str]] = Counter()
    crossings, highest = {word: Crossings() for word in WORDS}, dict.fromkeys(WORDS, 0.0)
    seconds: Counter[str] = Counter()
    open_blocks = all_blocks = 0
    began = time.process_time()
    try:
        for what, samples in sounds(hours):
            seconds[what] += len(samples) / RATE_HZ
            samples = samples[: len(samples) // 1280 * 1280]
            for block in blocks(samples, [1280]):
                for name, ears in (("ungated", free), ("gated", gated)):
                    wake = ears.detect(block)
                    if wake is not None:
                        heard[name, wake.word] += 1
                        sys.stdout.write(
                            f"{name}: {wake.word} {wake.score:.2f} in {what}, after {sum(seconds.values()) / 60:.1f} min\n"
                        )
                for word, score in free.scores().items():
                    crossings[word].feed(score)
                    highest[word] = max(highest[word], score)
                open_blocks += gated.open
                all_blocks += 1
    except stock.Unavailable as error:
        sys.stdout.write(f"{error}\n")
        return 1
    used_s = time.process_time() - began
    total_s = sum(seconds.values())
    sys.stdout.write("\n| sound | minutes |\n|---|---|\n")
    for what, length in sorted(seconds.items()):
        sys.stdout.write(f"| {what} | {length / 60:.1f} |\n")
    sys.stdout.write(f"| all | {total_s / 60:.1f} |\n\n| word | ungated | gated | highest score |\n|---|---|---|---|\n")
    for word in WORDS:
        sys.stdout.write(f"| {word} | {heard['ungated', word]} | {heard['gated', word]} | {highest[word]:.2f} |\n")
    sys.stdout.write(f"\n| times over a score of | {' | '.join(map(str, BARS))} |\n{'|---' * (1 + len(BARS))}|\n")
    for word in WORDS:
        sys.stdout.write(f"| {word} | {' | '.join(str(crossings[word].counts[bar]) for bar in BARS)} |\n")
    share = 100 * open_blocks / max(1, all_blocks)
    sys.stdout.write(
        f"\nThe gate was open {share:.0f} % of the time; {len(checks)} wakes were caught by its checks; {used_s:.0f} s.\n"
    )
    more = any(heard["gated", word] > heard["ungated", word] for word in WORDS)
    return 1 if more or heard["gated", "hey_jarvis"] else 0


if __name__ == "__main__":
    sys.exit(main())
