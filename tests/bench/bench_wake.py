"""What the wake word costs, beside the packages that a user would take instead, and how long after its last sound it is recognised.

Run: python -m tests.bench.bench_wake

Every engine is a process of its own, in turns, several times; figures are medians. Processor time is that of all its threads.
`core.preroll.LOOK_BACK_MS` is chosen by the last table. How many wake words are heard is `bench_recall`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import math
import operator
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipit.gate import CHECK_EVERY_S, CHECK_MS
from pipit.wake import Engine, openwakeword
from pipit.wake.openwakeword import Settings, Word
from tests.bench import peers
from tests.bench.bench_daemon import as_service, cpu_s, pss_kb, seconds, status_kb
from tests.daemon import Daemon, configuration
from tests.room import Room
from tests.speech import Samples, blocks, noise, say, timeline
from tests.wake import stock

BLOCK = 320
BEFORE_S, AFTER_S = 2.0, 1.5

ESPEAK = ("en-gb", "en-us", "en-us-nyc", "en-gb-x-rp", "en-gb-x-gbclan", "en-us+f3", "en-gb+f2", "en-gb+m3")
FLITE = ("flite:slt", "flite:rms", "flite:kal16", "flite:kal", "flite:awb")
SPEEDS = (130, 150, 170, 190)
PITCHES = (20, 50, 80)
REQUESTS = ("what is the weather tomorrow", "turn on the kitchen light", "set a timer for ten minutes", "play some music")

QUIET_DBFS = -62
SENTENCES = (
    "The small brown bird of open country sings while it climbs, and falls silent when it comes down.",
    "What will the weather be like in London tomorrow morning, and do I need an umbrella?",
    "Please set a timer for twelve minutes, and remind me to take the bread out of the oven.",
)
ONE, THREE = ("hey_jarvis",), ("hey_jarvis", "alexa", "hey_mycroft")
ROUNDS = 5
SECONDS = 62
"""Of each sound; the first two are not counted."""


def sounds(folder: Path) -> dict[str, Path]:
    """Write what the engines are fed with; return the files by name."""
    talk = np.concatenate([say(text, voice) for voice in ESPEAK + FLITE for text in SENTENCES])[: SECONDS * 16000]
    room = noise(SECONDS, dbfs=QUIET_DBFS).astype(np.int32)
    busy = timeline([(3.0 + 20 * index, say(REQUESTS[index])) for index in range(3)], SECONDS, noise_dbfs=QUIET_DBFS)
    talking = np.clip(room[: len(talk)] + talk, -32768, 32767).astype(np.int16)
    made = {"quiet": room.astype(np.int16), "busy": busy, "talk": talking}
    for name, samples in made.items():
        (folder / f"{name}.raw").write_bytes(samples.tobytes())
    return {name: folder / f"{name}.raw" for name in made}


Measured = dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]]


def measure(folder: Path) -> Measured:
    """Probe every engine, in turns."""
    files = list(sounds(folder).values())
    engines = [("gated", ONE), ("ungated", ONE), ("gated", THREE), ("ungated", THREE)]
    engines += [("openwakeword", ONE), ("openwakeword", THREE), ("micro", ONE), ("micro", THREE)]
    found: Measured = {engine: [] for engine in engines}
    for _ in range(ROUNDS):
        for kind, words in engines:
            with contextlib.suppress(stock.Unavailable):
                found[kind, words].append(peers.probe(kind, words, files))
    return found


def median(rounds: Sequence[Mapping[str, Any]], *path: str) -> float:
    """Return the median of a figure over the rounds; nan if there were none."""
    values = [float(functools.reduce(operator.getitem, path, each)) for each in rounds]  # type: ignore[arg-type]
    return statistics.median(values) if values else math.nan


TITLES = {
    ("gated", ONE): "Pipit",
    ("ungated", ONE): "Pipit, gate off",
    ("gated", THREE): "Pipit, 3 words",
    ("ungated", THREE): "Pipit, 3 words, gate off",
    ("openwakeword", ONE): "openwakeword 0.6.0, Model.predict",
    ("openwakeword", THREE): "openwakeword 0.6.0, 3 words",
    ("micro", ONE): "pymicro-wakeword 2.5.0",
    ("micro", THREE): "pymicro-wakeword 2.5.0, 3 words",
}


def costs() -> Iterator[str]:
    """Yield the tables of what engines cost."""
    with tempfile.TemporaryDirectory() as name:
        found = measure(Path(name))
    yield "| ms of processor per s of sound | quiet room | a sentence every 20 s | only talk | load s | MB | anonymous | threads |"
    yield "|---" * 8 + "|"
    for engine, rounds in found.items():
        cpu = " | ".join(f"{median(rounds, 'cpu', sound):.2f}" for sound in ("quiet", "busy", "talk"))
        memory = " | ".join(f"{median(rounds, key):.0f}" for key in ("rss_mb", "anonymous_mb", "threads"))
        yield f"| {TITLES[engine]} | {cpu} | {median(rounds, 'load_s'):.2f} | {memory} |"
    checks_ms = (CHECK_MS / 80 + 25) * median(found["ungated", ONE], "cpu", "talk") / 12.5 / CHECK_EVERY_S
    yield ""
    yield f"Checking the gate adds {checks_ms:.3f} ms per s of a quiet room on average: not in the first column, but in the ratios."
    yield ""
    yield "| ratio | measured | wanted |"
    yield "|---|---|---|"

    def of(kind: str, words: tuple[str, ...], sound: str) -> float:
        return median(found[kind, words], "cpu", sound) + (checks_ms if kind == "gated" and sound == "quiet" else 0)

    stock_quiet, stock_talk = of("openwakeword", ONE, "quiet"), of("openwakeword", ONE, "talk")
    yield f"| quiet room: openwakeword / Pipit | {stock_quiet / of('gated', ONE, 'quiet'):.0f} | 100 |"
    yield f"| talk: openwakeword / Pipit | {stock_talk / of('gated', ONE, 'talk'):.1f} | 5 |"
    yield f"| talk, 3 words: pymicro-wakeword / Pipit | {of('micro', THREE, 'talk') / of('gated', THREE, 'talk'):.2f} | over 1 |"
    yield f"| talk: Pipit with 3 words / with 1 | {of('gated', THREE, 'talk') / of('gated', ONE, 'talk'):.2f} | at most 1.3 |"


async def daemon(folder: Path, *, plain: bool) -> tuple[float, float, float, float]:
    """Start the whole daemon on a virtual sound card; return what that took.

    s until ready, s of processor until then; resident MB and proportional MB when it was idle for 5 s.

    Args:
        folder: for its files.
        plain: with no ALSA plug-in but the one that this card needs.
    """
    with Room(folder / "room") as room:
        settings = configuration(folder, "wss://127.0.0.1:9/v1/realtime", echo={"engine": "hybrid"})
        settings["audio"] = {"backend": "portaudio"}
        compiled = {**COMPILED, "PYTHONPYCACHEPREFIX": str(folder.parent.parent / "compiled")}
        environment = {**room.environment, **as_service(), **compiled}
        if plain:
            environment["ALSA_PLUGIN_DIR"] = str(plug_ins(folder))
        async with Daemon(settings, folder, environment) as running:
            ready, pid = await running.until("ready"), running.process.pid
            used_s = cpu_s(pid)
            await asyncio.sleep(5)
            resident, proportional = status_kb(pid, "VmRSS") / 1024, pss_kb(pid) / 1024
            return seconds(ready) - running.started_at, used_s, resident, proportional


COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""As where it is installed: what was compiled is kept."""


def plug_ins(folder: Path) -> Path:
    """Return a folder with the one ALSA plug-in that the virtual card needs.

    PortAudio opens every device there is, and on a desktop each of them draws in its libraries: JACK's, FFmpeg's.
    """
    made = folder / "alsa"
    made.mkdir()
    for path in Path("/usr/lib").glob("*/alsa-lib/libasound_module_*_pulse.so"):
        (made / path.name).symlink_to(path)
    return made


def whole() -> Iterator[str]:
    """Yield the table of the daemon beside the openwakeword package alone; in turns, since others may use this computer as well."""
    runs: dict[bool, list[tuple[float, float, float, float]]] = {False: [], True: []}
    rounds = []
    with tempfile.TemporaryDirectory() as name:
        empty = Path(name) / "second.raw"
        empty.write_bytes(bytes(96000))
        for number, (plain, found) in itertools.product(range(ROUNDS), runs.items()):
            folder = Path(name) / str(number) / str(plain)
            folder.mkdir(parents=True)
            found.append(asyncio.run(daemon(folder, plain=plain)))
            with contextlib.suppress(stock.Unavailable):
                rounds.append(peers.probe("openwakeword", ONE, [empty]))
    medians = {plain: [statistics.median(column) for column in zip(*found, strict=True)] for plain, found in runs.items()}
    stock_s, stock_cpu_s, stock_mb = (median(rounds, key) for key in ("load_s", "load_cpu_s", "rss_mb"))
    yield "| the whole daemon, idle, streams open, echo canceller loaded | measured | openwakeword's Model alone | wanted |"
    yield "|---|---|---|---|"
    for plain, title in ((False, "memory, with the ALSA plug-ins of this computer"), (True, "memory, with the sound card's alone")):
        *_, resident_mb, proportional_mb = medians[plain]
        memory = f"{resident_mb:.0f} MB resident, {proportional_mb:.0f} MB proportional"
        yield f"| {title} | {memory} | {stock_mb:.0f} MB | at most 80 MB, aim at 65 |"
    ready_s, used_s, *_ = medians[True]
    yield f"| process start to ready | {ready_s:.2f} s | {stock_s:.2f} s, import and load | a quarter: {stock_s / 4:.2f} s |"
    yield f"| of it processor time | {used_s:.2f} s | {stock_cpu_s:.2f} s | a quarter: {stock_cpu_s / 4:.2f} s |"


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


def delays(title: str, settings: Settings, sounds: Iterator[tuple[Samples, float]]) -> str:
    """Return a row: how many are heard, and how late."""
    engine = openwakeword.build(settings)
    found = [delay_ms(engine, sound, end_s) for sound, end_s in sounds]
    engine.close()
    heard = [delay for delay in found if delay is not None]
    figures = [f"{figure:.0f}" for figure in np.percentile(heard, [0, 5, 50, 95, 99, 100])] if heard else ["-"] * 6
    return f"| {title} | {len(heard)} of {len(found)} | {' | '.join(figures)} |"


def lateness() -> Iterator[str]:
    """Yield the table of how long after its last sound a wake word is recognised."""
    yield "| ms after the last sound | heard | min | 5 % | median | 95 % | 99 % | max |"
    yield "|---" * 8 + "|"
    for (word, phrase), patience in itertools.product([("hey_jarvis", "hey jarvis"), ("alexa", "alexa")], (1, 2)):
        for gap_s, then in ((None, "silence"), (0.15, "a request after 150 ms"), (0.0, "a request at once")):
            title = f"{word}, patience {patience}, then {then}"
            yield delays(title, Settings(words=(Word(word),), patience=patience), spoken(phrase, gap_s))


if __name__ == "__main__":
    for table in (costs, whole, lateness):
        for line in table():
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        sys.stdout.write("\n")
