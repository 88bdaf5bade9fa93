"""How long a person waits for a cascade: end of speech -> first audible sample, with and without preemptive attempts.

The whole daemon talks to stages of the rehearsal server, each of which takes exactly so long; what is beyond their sum is Pipit's:
requests, sentences, resampling, the mixer, the file that stands for a sound card. What stages on this device take is measured on
its own first, and so is the silence with which espeak-ng begins a sentence.

Run: python -m tests.bench.bench_cascade
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np

from pipit.conversation import AUDIBLE
from pipit.offline.recogniser import Recogniser
from pipit.rehearsal import Conduct, Rehearsal
from pipit.services.cascade import espeak_speak
from pipit.services.cascade.settings import Settings
from pipit.services.cascade.sphinx_hear import GRAMMAR
from tests import speech
from tests.daemon import Daemon, configuration, put_into_microphone

HEAR_S, THINK_S, SPEAK_S = 0.35, 0.4, 0.2
"""Of the rehearsed stages: usual figures of hosted ones."""

QUESTIONS = ("what time is it", "what is the date today", "thank you", "what day is it", "what time is it", "thank you")
EVERY_S = 7.5
GOAL_MS = 60
VOICE = "en-gb"
ANSWERS = ("It is twelve oh five.", "Today is Saturday, the twenty first of November.", "You are welcome.")


@contextlib.asynccontextmanager
async def service(provider: str, *, preemptive: bool) -> AsyncIterator[dict[str, Any]]:
    """Yield the section `service`, and run what it needs."""
    turn = {"preemptive": preemptive}
    if provider == "local":
        yield {"provider": provider, "turn": turn}
        return
    async with Rehearsal(conduct=Conduct(hear_s=HEAR_S, think_s=THINK_S, speak_s=SPEAK_S), record=False) as server:
        hear = {"url": server.http} if provider == "fish" else {"url": f"{server.http}/v1", "engine": "openai"}
        speak = {"url": server.http} if provider == "fish" else {"engine": "espeak-ng"}
        think = {"url": f"{server.http}/v1", **({} if provider == "fish" else {"engine": "chat"})}
        yield {"provider": provider, "turn": turn, "hear": hear, "think": think, "speak": speak}


async def turns(provider: str, *, preemptive: bool) -> list[dict[str, Any]]:
    """Return the records of a conversation's turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = [(1.0, speech.say(f"hey jarvis, {QUESTIONS[0]}", voice=VOICE, speed=150, rate_hz=48000))]
        clips += [(1.0 + EVERY_S * n, speech.say(text, voice=VOICE, rate_hz=48000)) for n, text in enumerate(QUESTIONS) if n]
        put_into_microphone(folder, clips, seconds=len(QUESTIONS) * EVERY_S + 8)
        async with service(provider, preemptive=preemptive) as section:
            settings = configuration(folder, conversation={"idle_s": 20}, tools={"clock": provider == "local"})
            settings["service"] = section
            async with Daemon(settings, folder) as daemon:
                found: list[dict[str, Any]] = []
                while len(found) < len(QUESTIONS):
                    await daemon.until("turn", after=len(daemon.records) if found else 0, timeout_s=40)
                    found = [dict(record) for record in daemon.of("turn")]
                return found


async def spoken(text: str) -> tuple[float, float]:
    """Return how long espeak-ng takes until the first sound of a sentence, and how much silence that begins with; in ms."""

    async def sentences() -> AsyncIterator[str]:
        yield text

    stage, silent = espeak_speak.build(Settings()), 0
    began = time.perf_counter()
    took_ms: float | None = None
    async with contextlib.aclosing(stage.speak(sentences())) as sounds:
        async for sound in sounds:
            took_ms = took_ms or (time.perf_counter() - began) * 1000
            loud = np.flatnonzero(np.abs(np.frombuffer(sound.pcm, "<i2").astype(np.int32)) > AUDIBLE)
            if len(loud):
                return took_ms, (silent + int(loud[0])) / stage.rate_hz * 1000
            silent += len(sound.pcm) // 2
    raise AssertionError("espeak-ng said nothing")


def heard() -> float:
    """Return how long pocketsphinx takes for one of the questions, in ms."""
    recogniser, took = Recogniser(GRAMMAR), list[float]()
    for text in QUESTIONS:
        clip = speech.say(text, voice=VOICE)
        utterance = speech.timeline([(0.3, clip)], 0.9 + len(clip) / 16000)
        began = time.perf_counter()
        recogniser.hear(utterance)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def median(records: list[dict[str, Any]], key: str) -> float:
    """Return the middle of a figure, over all turns but the first, which has the wake word in it."""
    return float(statistics.median(record[key] for record in records[1:]))


async def main() -> int:
    """Print the table."""
    voices = [await spoken(text) for text in ANSWERS * 3]
    espeak_ms, silence_ms = (statistics.median(figures) for figures in zip(*voices, strict=True))
    sphinx_ms, fixed_ms = heard(), (HEAR_S + THINK_S) * 1000
    stages_ms = {
        "fish": fixed_ms + SPEAK_S * 1000 + silence_ms,
        "cascade": fixed_ms + espeak_ms + silence_ms,
        "local": sphinx_ms + espeak_ms + silence_ms,
    }
    sys.stdout.write(
        f"Rehearsed stages: hear {HEAR_S * 1000:.0f} ms, think {THINK_S * 1000:.0f} ms, speak {SPEAK_S * 1000:.0f} ms. "
    )
    sys.stdout.write(f"Here: pocketsphinx {sphinx_ms:.0f} ms, espeak-ng {espeak_ms:.0f} ms and {silence_ms:.0f} ms of silence.\n\n")
    sys.stdout.write(
        "| provider | preemptive | speech over -> audible, ms | turn over -> audible, ms | of it not the stages', ms |\n"
    )
    sys.stdout.write("|---|---|---|---|---|\n")
    added = dict[str, float]()
    for provider, of_stages in stages_ms.items():
        waits = list[float]()
        for preemptive in (False, True):
            found = await turns(provider, preemptive=preemptive)
            speech_ms, turn_ms = median(found, "end_of_speech_to_audible_ms"), median(found, "end_of_turn_to_audible_ms")
            waits.append(speech_ms)
            own = "" if preemptive else f"{turn_ms - of_stages:.0f}"
            if not preemptive:
                added[provider] = turn_ms - of_stages
            row = (provider, "yes" if preemptive else "no", f"{speech_ms:.0f}", f"{turn_ms:.0f}", own)
            sys.stdout.write(f"| {' | '.join(row)} |\n")
            sys.stdout.flush()
        sys.stdout.write(f"| | | {waits[1] / waits[0]:.2f} x | | |\n")
    worst = max(added.values())
    sys.stdout.write(
        f"\nAt most {worst:.0f} ms of Pipit's own (median; goal {GOAL_MS}): {'met' if worst < GOAL_MS else 'MISSED'}\n"
    )
    return 0 if worst < GOAL_MS else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
