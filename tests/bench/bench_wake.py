"""What the wake word costs, and how long after its last sound it is recognised.

Run: python -m tests.bench.bench_wake [FOLDER]

FOLDER holds recordings of wake words, a folder for each (alexa/*.wav, jarvis/*.flac, ...; sox reads them), to see how many of them
the models hear, and when. `core.preroll.LOOK_BACK_MS` is chosen by the second table.
"""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipit.wake import Engine, openwakeword
from pipit.wake.openwakeword import Settings, Word
from tests.speech import Samples, blocks, noise, say, timeline

BLOCK = 320
BEFORE_S, AFTER_S = 2.0, 1.5

ESPEAK = ("en-gb", "en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-x-gbclan", "en-us+f3", "en-gb+f2", "en-gb+m3")
FLITE = ("flite:slt", "flite:rms", "flite:kal16", "flite:kal", "flite:awb")
SPEEDS = (130, 150, 170, 190)
PITCHES = (20, 50, 80)
REQUESTS = ("what is the weather tomorrow", "turn on the kitchen light", "set a timer for ten minutes", "play some music")

PROBE = """
import sys, time
from pathlib import Path
def status(key):
    return int(next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(key)).split()[1])
before = status("VmRSS"), status("RssAnon")
start = time.perf_counter()
from pipit.wake import openwakeword as o
imported = time.perf_counter()
engine = o.build(o.Settings(words=tuple(o.Word(name) for name in sys.argv[1:])))
built = time.perf_counter()
engine.detect(bytes(320000))
memory = (status("VmRSS") - before[0]) / 1024, (status("RssAnon") - before[1]) / 1024
print(1000 * (imported - start), 1000 * (built - imported), *memory, status("Threads"))
"""


def cost(words: Sequence[str]) -> str:
    """Return a row: what an engine for these words costs."""
    command = [sys.executable, "-c", PROBE, *words]
    probes = [[float(x) for x in subprocess.run(command, capture_output=True, check=True).stdout.split()] for _ in range(5)]
    import_ms, build_ms, rss_mb, anonymous_mb, threads = (statistics.median(column) for column in zip(*probes, strict=True))
    engine = openwakeword.build(Settings(words=tuple(map(Word, words))))
    sound = np.concatenate([noise(10), *(say(text, voice) for text in REQUESTS for voice in ESPEAK)])
    times = []
    for _ in range(5):
        start = time.process_time()
        for block in blocks(sound, [BLOCK]):
            engine.detect(block)
        times.append(time.process_time() - start)
    start = time.perf_counter()
    engine.reset()
    reset_ms = 1000 * (time.perf_counter() - start)
    engine.close()
    ms_per_s = 1000 * min(times) / (len(sound) / 16000)
    figures = (
        f"{ms_per_s:.1f} | {import_ms:.0f} | {build_ms:.0f} | {reset_ms:.2f} | {rss_mb:.1f} | {anonymous_mb:.1f} | {threads:.0f}"
    )
    return f"| {', '.join(words)} | {figures} |"


def delay_ms(engine: Engine, sound: Samples, end_s: float) -> float | None:
    """Return how long after `end_s` the engine first hears a word (negative: before), or None; it starts afresh."""
    engine.reset()
    for count, block in enumerate(blocks(sound, [BLOCK]), 1):
        if engine.detect(block):
            return 1000 * (count * BLOCK / 16000 - end_s)
    return None


def spoken(phrase: str, gap_s: float | None) -> Iterator[tuple[Samples, float]]:
    """Yield the phrase in many voices, followed by a request after a gap (or by nothing), and where its last sound ends."""
    settings = [*itertools.product(ESPEAK, SPEEDS, PITCHES), *itertools.product(FLITE, SPEEDS, (50,))]
    for index, (voice, speed, pitch) in enumerate(settings):
        clip = say(phrase, voice, speed, pitch)
        start_s = BEFORE_S + 0.07 * (index % 8) / 7  # anywhere within a frame
        end_s = start_s + len(clip) / 16000
        clips = [(start_s, clip)]
        if gap_s is not None:
            clips.append((end_s + gap_s, say(REQUESTS[index % len(REQUESTS)], voice, speed, pitch)))
        total_s = max(at + len(each) / 16000 for at, each in clips) + AFTER_S
        yield timeline(clips, total_s, seed=index), end_s


def recorded(folder: Path) -> Iterator[tuple[Samples, float]]:
    """Yield the recordings of a folder within quiet noise, and where their last sound within 30 dB of the loudest ends."""
    for index, path in enumerate(sorted(folder.glob("*.*"))):
        command = ["sox", str(path), "-t", "raw", "-e", "signed", "-b", "16", "-r", "16000", "-c", "1", "-"]
        clip = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)
        power = np.mean(clip[: len(clip) // BLOCK * BLOCK].reshape(-1, BLOCK).astype(float) ** 2, axis=1)
        end_s = BEFORE_S + 0.02 * (np.flatnonzero(power > power.max() / 1000)[-1] + 1)
        yield np.concatenate([noise(BEFORE_S, seed=index), clip, noise(AFTER_S, seed=index + 1)]), end_s


def delays(title: str, settings: Settings, sounds: Iterator[tuple[Samples, float]]) -> str:
    """Return a row: how many are heard, and how late."""
    engine = openwakeword.build(settings)
    found = [delay_ms(engine, sound, end_s) for sound, end_s in sounds]
    engine.close()
    heard = [delay for delay in found if delay is not None]
    figures = [f"{figure:.0f}" for figure in np.percentile(heard, [0, 5, 50, 95, 99, 100])] if heard else ["-"] * 6
    return f"| {title} | {len(heard)} of {len(found)} | {' | '.join(figures)} |"


def report(recordings: Path | None = None) -> str:
    """Measure, and return the tables."""
    lines = ["| words | ms CPU per s | import ms | create ms | reset ms | MB added | of it anonymous | threads |", "|---" * 8 + "|"]
    lines += [cost(["hey_jarvis"]), cost(["hey_jarvis", "alexa", "hey_mycroft"]), cost(["hey_jarvis", "okay_nabu"]), ""]
    lines += ["| ms after the last sound | heard | min | 5 % | median | 95 % | 99 % | max |", "|---" * 8 + "|"]
    for (word, phrase), patience in itertools.product([("hey_jarvis", "hey jarvis"), ("alexa", "alexa")], (1, 2)):
        for gap_s, then in ((None, "silence"), (0.15, "a request after 150 ms"), (0.0, "a request at once")):
            title = f"{word}, patience {patience}, then {then}"
            lines.append(delays(title, Settings(words=(Word(word),), patience=patience), spoken(phrase, gap_s)))
    for folder in sorted(recordings.iterdir()) if recordings else ():
        if folder.is_dir():
            words = (Word("hey_jarvis"), Word("alexa"))
            lines.append(delays(f"recordings of {folder.name}", Settings(words=words), recorded(folder)))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(report(Path(sys.argv[1]) if len(sys.argv) > 1 else None) + "\n")
