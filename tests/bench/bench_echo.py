"""Every echo canceller in the same simulated rooms: what it removes, whether it hears itself, and what it leaves of a person.

Run: python -m tests.bench.bench_echo [--quick] [--minutes 30] [--engines hybrid,webrtc] [--parts removed,false,...]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipit.core.drift import movement
from pipit.echo import Canceller, Through
from pipit.echo.hybrid import Hybrid
from pipit.echo.kalman import Kalman
from pipit.echo.memory import Memory
from pipit.echo.proof import FLOOR_DB, Verdict
from pipit.echo.reference import Reference
from pipit.echo.talking import ABOVE_NOISE_DB, BELOW_HEARD_DB, QUIETEST_DBFS, Voiced
from pipit.echo.webrtc import WebRtc
from pipit.offline.ear import Ear, Started, TurnDetection
from pipit.wake import openwakeword
from tests import speech
from tests.bench.room import FRAME, RATE_HZ, Scene, Take, Wires, near_clips, take
from tests.bench.stoi import stoi

SILENT_AFTER_S = 0.046
"""From the order to be silent to silence at the loudspeaker, with blocks of 20 ms: the device's two periods (measured)."""


class Off(Through):
    """No canceller, and the decision on the microphone itself: what the others have to be better than."""

    def __init__(self) -> None:
        super().__init__(full_duplex=True)
        self._voiced = Voiced(3, 6, 10, 16, ABOVE_NOISE_DB, QUIETEST_DBFS, BELOW_HEARD_DB)

    def clean(self, microphone: NDArray[np.int16], reference: NDArray[np.int16] | None) -> Any:
        return super().clean(microphone, reference)._replace(talking=self._voiced.feed(microphone, microphone))


ENGINES: dict[str, Callable[[], Canceller]] = {
    "off": Off,
    "kalman": lambda: Kalman(FLOOR_DB),
    "webrtc": lambda: WebRtc(FLOOR_DB),
    "hybrid": lambda: Hybrid(FLOOR_DB),
}

SCENES = (
    Scene("linear, 20 ms", delay_ms=20, drive=0),
    Scene("linear, 60 ms", drive=0),
    Scene("linear, 200 ms", delay_ms=200, drive=0),
    Scene("rings 0.6 s", drive=0, reverberation_s=0.6),
    Scene("50 ppm", drift_ppm=50),
    Scene("100 ppm", drift_ppm=100),
    Scene("5 % distortion", drive=1),
    Scene("heavy distortion", drive=3),
    Scene("noise at -20 dB", noise_db=-20),
    Scene("loud: -14 dBFS", echo_dbfs=-14),
)
LIMITED = (
    Scene("heavy, hard limit", drive=4, limit="hard"),
    Scene("heavy, lopsided", drive=2, limit="lopsided"),
    Scene("heavy, cone's travel", drive=3, limit="travel"),
)
"""Other loudspeakers at their limit: a canceller must not fit the one that was chosen for the rooms above."""
STUMBLING = (Scene("slips by 3 ms", slip_ms=3), Scene("slips by 20 ms", slip_ms=20))
"""A sound system that loses 3 or 20 ms every nine seconds, and tells nobody."""
NOISE_FREE_DB = -60.0
"""Where the removed echo is measured, the noise is this far below it, so that it is not the noise that is measured."""


class Result(NamedTuple):
    """What an engine made of a take."""

    speech: NDArray[np.int16]
    ears: NDArray[np.int16]
    talking: NDArray[np.bool_]
    sent: NDArray[np.int16]
    """What the service hears while Pipit speaks: silence where nothing is proven, and where nobody talks."""
    cpu_s: float
    engine: Canceller


def run(engine: Canceller, made: Take) -> Result:
    """Let an engine hear a take, frame by frame, with its time stamps; a person counts only where the proof would allow it."""
    wires = Wires(made)
    reference = Reference(wires.played, RATE_HZ, wires.reference_at)
    heard, ears, talking, sent, cpu_s = [], [], [], [], 0.0
    for _ in range(len(made.microphone) // FRAME):
        microphone, at = wires.frame()
        began = time.thread_time()
        played = reference.frame(at, FRAME, engine.drift, engine.lag_s)
        cleaned = engine.clean(microphone, played)
        cpu_s += time.thread_time() - began
        if engine.proof is not None and len(cleaned.speech):
            left = cleaned.speech if cleaned.left is None else cleaned.left
            engine.proof.feed(microphone, left, cleaned.ears, played, cleaned.talking)
        heard.append(cleaned.speech)
        ears.append(cleaned.ears)
        proven = engine.proof is None or engine.proof.verdict is Verdict.WORKS
        talking.append(cleaned.talking and proven)
        sent.append(cleaned.speech if proven and cleaned.clear else np.zeros_like(cleaned.speech))
    return Result(np.concatenate(heard), np.concatenate(ears), np.array(talking), np.concatenate(sent), cpu_s, engine)


def removed_db(made: Take, left: NDArray[np.int16], start_s: float, stop_s: float) -> float:
    """Return the echo return loss enhancement over a time."""
    part = slice(round(start_s * RATE_HZ), min(round(stop_s * RATE_HZ), len(left)))
    powers = [float(np.mean(samples[part].astype(float) ** 2)) + 0.01 for samples in (made.microphone, left)]
    return 10 * float(np.log10(powers[0] / powers[1]))


def converged_s(made: Take, left: NDArray[np.int16]) -> float:
    """Return when 20 dB were removed for the first time over 0.4 s, counted from the first sound of the echo."""
    begin = float(np.flatnonzero(np.abs(made.echo) > 0.01 * np.abs(made.echo).max())[0]) / RATE_HZ
    for start in np.arange(begin, len(left) / RATE_HZ - 0.4, 0.1):
        if removed_db(made, left, start, start + 0.4) >= 20:
            return float(start - begin)
    return float("nan")


def edges(talking: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return when the decision that a person talks was made, in seconds."""
    return (np.flatnonzero(np.diff(talking.astype(int), prepend=0) == 1) + 1) * FRAME / RATE_HZ


def taken_for_speech(sent: NDArray[np.int16]) -> int:
    """Return how often a service's voice detection begins a turn."""
    ear = Ear(RATE_HZ, TurnDetection())
    found = (ear.feed(sent[start : start + FRAME]) for start in range(0, len(sent), FRAME))
    return sum(isinstance(what, Started) for event in found for what in event)


# -- the parts ---------------------------------------------------------------------------------------------------------------------


def part_removed(names: Sequence[str], scale: float) -> Iterable[str]:
    """What is removed while nobody else talks, and how soon."""
    yield "## Echo removed (dB, after 10 s; for the service / the wake word), cold start to 20 dB, and with what was kept (s)"
    yield "| room | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    seconds = 20 if scale < 1 else 40
    for scene in SCENES + LIMITED:
        quiet = scene if "noise" in scene.name else replace(scene, noise_db=NOISE_FREE_DB)
        first, second = take(quiet, seconds), take(replace(quiet, seed=scene.seed + 1), 6)
        cells = []
        for name in names:
            result = run(ENGINES[name](), first)
            again = ENGINES[name]()
            known = _memory(result.engine)
            if known is not None:
                again.remember(known)
            left = run(again, second).speech
            speech_db, ears_db = (removed_db(first, y, 10, seconds) for y in (result.speech, result.ears))
            cells.append(
                f"{speech_db:.0f} / {ears_db:.0f}, {converged_s(first, result.speech):.1f} s, {converged_s(second, left):.1f} s"
            )
        yield f"| {scene.name} | " + " | ".join(cells) + " |"


def _memory(engine: Canceller) -> Memory | None:
    """Return what the engine knows after the loudspeaker has fallen silent."""
    silence = np.zeros(FRAME, np.int16)
    for _ in range(50):
        engine.clean(silence, None)
    return engine.memory


def part_false(names: Sequence[str], scale: float, minutes: float = 30) -> Iterable[str]:
    """How often Pipit's own voice is taken for a person's."""
    minute = max(1, round(minutes * scale / len(SCENES)))
    yield f"## Pipit's own voice taken for a person's, here / by the service, in {minute} minutes a room, each begun cold"
    yield "| room | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    for scenes in (SCENES, LIMITED, STUMBLING):
        sums = {name: [0, 0] for name in names}
        for scene in scenes:
            counts = {name: [0, 0] for name in names}
            for turn in range(minute):
                made = take(replace(scene, seed=50 + turn), 60)
                for name in names:
                    result = run(ENGINES[name](), made)
                    counts[name][0] += len(edges(result.talking))
                    counts[name][1] += taken_for_speech(result.sent)
            for name in names:
                sums[name] = [a + b for a, b in zip(sums[name], counts[name], strict=True)]
            yield f"| {scene.name} | " + " | ".join("{} / {}".format(*counts[name]) for name in names) + " |"
        yield f"| all, {minute * len(scenes)} minutes | " + " | ".join("{} / {}".format(*sums[name]) for name in names) + " |"


def part_heard(names: Sequence[str], scale: float) -> Iterable[str]:
    """Whether a person who talks over Pipit is heard, and how soon."""
    count = 24 if scale < 1 else 48
    yield f"## A person talks over Pipit, {count} times: heard, ms from the onset to silence (median / 90 %), what goes up of it"
    yield "| person, room | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    rooms = (Scene("plain room"), Scene("100 ppm", drift_ppm=100), Scene("heavy distortion", drive=3))
    cases = [(near_db, rooms[0]) for near_db in (-10.0, -5.0, 0.0, 10.0)] + [(0.0, room) for room in rooms[1:]]
    for near_db, scene in cases:
        made = _talked_over(scene, count, near_db)
        cells = []
        for name in names:
            result = run(ENGINES[name](), made)
            found = edges(result.talking)
            delays = []
            for start, stop in made.onsets:
                inside = found[(found > start) & (found < stop + 0.3)]
                if len(inside):
                    delays.append(1000 * (inside[0] - start + SILENT_AFTER_S))
            times = f"{np.median(delays):.0f} / {np.percentile(delays, 90):.0f}" if delays else "-"
            cells.append(f"{100 * len(delays) / count:.0f} %, {times}, {100 * went_up(made, result.sent):.1f} %")
        yield f"| {near_db:+.0f} dB, {scene.name} | " + " | ".join(cells) + " |"


def _talked_over(scene: Scene, count: int, near_db: float) -> Take:
    clips = [(12.0 + 4 * k, clip) for k, clip in enumerate(near_clips(count, scene.seed))]
    return take(scene, 14.0 + 4 * count, clips, near_db)


def went_up(made: Take, sent: NDArray[np.int16]) -> float:
    """Return the share of what the person said, in energy, that the service was not sent silence instead of."""
    whole = len(sent) // FRAME * FRAME
    energy = (made.near[:whole].reshape(-1, FRAME) ** 2).sum(1)
    return float(energy[sent[:whole].reshape(-1, FRAME).any(1)].sum() / energy.sum())


def part_kept(names: Sequence[str], scale: float) -> Iterable[str]:
    """What is left of the person."""
    yield "## A person at the level of the echo: level loss dB (of 60 ms pieces: median, share that lost 10 dB), STOI"
    yield "| room | as it was | " + " | ".join(names) + " |"
    yield "|---|---|" + "---|" * len(names)
    count = 12 if scale < 1 else 36
    soft = (Scene("plain room"), Scene("100 ppm", drift_ppm=100), Scene("5 % distortion", drive=1), Scene("heavy", drive=3))
    for scene in soft + LIMITED:
        made = _talked_over(scene, count, 0.0)
        start = 12 * RATE_HZ
        clean = made.near[start:]
        cells = [f"STOI {stoi(clean, made.microphone[start:] / 32768, RATE_HZ):.3f}"]
        for name in names:
            result = run(ENGINES[name](), made)
            for what, left in (("", result.sent), ("; ears ", result.ears)):
                near, out = clean[: len(left) - start], left[start:] / 32768
                loss, lost = _loss(near, out)
                cell = f"{what}{loss:.1f} dB, {100 * lost:.0f} %, STOI {stoi(near, out, RATE_HZ):.3f}"
                cells += [cell] if not what else []
                if what and not np.array_equal(result.sent, result.ears):
                    cells[-1] += cell
        yield f"| {scene.name} | " + " | ".join(cells) + " |"


def _loss(near: NDArray[np.float64], out: NDArray[np.float64]) -> tuple[float, float]:
    """Return the median loss of pieces in which the person talks, and the share of pieces that lost more than 10 dB."""
    first, heard = (samples[: 20 * RATE_HZ].astype(np.float32) for samples in (near, out))
    late = movement(first, heard, 400)  # filter banks delay
    out = np.roll(out, -round(late or 0))
    length = 3 * FRAME
    a, b = (samples[: len(samples) // length * length].reshape(-1, length) for samples in (near, out))
    energy = (a**2).sum(1)
    loud = energy > np.percentile(energy, 99) * 10**-2.5
    gains = (a * b).sum(1)[loud] / energy[loud]
    losses = -20 * np.log10(np.clip(gains, 1e-3, 10))
    return float(np.median(losses)), float(np.mean(losses > 10))


def part_wake(names: Sequence[str], scale: float) -> Iterable[str]:
    """Whether the wake word is heard over Pipit."""
    voices = ("en-us", "en-gb", "flite:slt", "flite:rms", "flite:awb", "en-us+f3", "en-gb+m4", "flite:kal16")
    words = [speech.say("hey jarvis", voice, speed) for voice in voices for speed in ((150, 170) if scale < 1 else (140, 155, 170))]
    clips = [(12.0 + 4 * k, word) for k, word in enumerate(words)]
    seconds = 14.0 + 4 * len(clips)
    quiet = take(Scene("quiet", echo_dbfs=-26), seconds, clips, -5.0)
    alone = np.clip(np.rint(quiet.near * 32768), -32768, 32767).astype(np.int16) + speech.noise(seconds, dbfs=-66)
    yield f'## "hey jarvis" {len(words)} times, 5 dB below the echo; in quiet {_wakes(alone, quiet.onsets)[0]}'
    yield "| room | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    for scene in (Scene("0 ppm"), Scene("100 ppm", drift_ppm=100)):
        made = take(scene, seconds, clips, -5.0)
        found = [_wakes(run(ENGINES[name](), made).ears, made.onsets) for name in names]
        yield (
            f"| {scene.name} | " + " | ".join(f"{hits}" + (f" and {false} false" if false else "") for hits, false in found) + " |"
        )


def _wakes(samples: NDArray[np.int16], onsets: Sequence[tuple[float, float]]) -> tuple[int, int]:
    """Return how many of the words were recognised, and how often something else was."""
    engine = openwakeword.build(openwakeword.Settings())
    at = []
    for start in range(0, len(samples) - FRAME + 1, FRAME):
        if engine.detect(samples[start : start + FRAME]) is not None:
            at.append((start + FRAME) / RATE_HZ)
    engine.close()
    hits = sum(any(start < t < stop + 1.0 for t in at) for start, stop in onsets)
    return hits, sum(not any(start < t < stop + 1.0 for start, stop in onsets) for t in at)


def part_cpu(names: Sequence[str], scale: float) -> Iterable[str]:
    """What it costs."""
    made = take(Scene("plain room"), 20)
    engine = openwakeword.build(openwakeword.Settings())
    began = time.thread_time()
    for start in range(0, len(made.microphone) - FRAME + 1, FRAME):
        engine.detect(made.microphone[start : start + FRAME])
    wake = time.thread_time() - began
    engine.close()
    yield "## Processor time of one core per second of sound (%), while Pipit talks; nothing is computed while it is silent"
    yield "| wake word alone | " + " | ".join(names) + " |"
    yield "|---|" + "---|" * len(names)
    cells = [min(run(ENGINES[name](), made).cpu_s for _ in range(2)) for name in names]
    yield f"| {100 * wake / 20:.2f} | " + " | ".join(f"{100 * cpu / 20:.2f}" for cpu in cells) + " |"


PARTS = {
    "removed": part_removed,
    "false": part_false,
    "heard": part_heard,
    "kept": part_kept,
    "wake": part_wake,
    "cpu": part_cpu,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a couple of minutes: shorter and fewer")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--parts", default=",".join(PARTS))
    options = parser.parse_args(arguments)
    names = options.engines.split(",")
    for part in options.parts.split(","):
        for line in PARTS[part](names, 1 / 3 if options.quick else 1.0):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
