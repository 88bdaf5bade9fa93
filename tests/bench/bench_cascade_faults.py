"""What becomes of conversations with a cascade when one of its stages fails, at a random time and for a random while.

Run: python -m tests.bench.bench_cascade_faults [CONVERSATIONS [STAGE ...]]

The session that the daemon uses (the cascade with Fish Audio's stages and chat/completions, and what outlives sessions), and the
daemon's machine with short time limits, talk to the rehearsal over real sockets; a person says "thank you" whenever it is
listened to, at twice the pace. Wrong is what `bench_faults` calls wrong.
"""

from __future__ import annotations

import asyncio
import collections
import gc
import os
import random
import sys
import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np

from pipit.core.machine import State
from pipit.core.options import Secret
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from pipit.services import Session
from pipit.services.cascade.provider import build
from pipit.services.cascade.session import CascadeSession
from pipit.services.cascade.settings import HearSettings, Settings, SpeakSettings, ThinkSettings, TurnSettings
from pipit.services.durable import Durable, DurableSession, Provider
from tests import speech
from tests.bench.bench_faults import PIECE_S, SPEED, Driver, Outcome

AT_ONCE = 4
STAGES = ("hear", "think", "speak live", "speak http")
FAULTS: tuple[dict[str, Any], ...] = (
    {},
    {"refuse_key": True},
    {"refuse_upgrade": 402},
    {"refuse_upgrade": 429},
    {"refuse_upgrade": 503},
    {"connect_delay_s": 1.0},
    {"connect_delay_s": 3.0},
    {"stall_after_accept": True},
    {"stall_at_ready": True},
    {"stall_mid_reply": True},
    {"drop_mid_reply": True},
    {"cut_mid_reply": True},
    {"error_mid_reply": True},
    {"close_at_ready": 1011},
    {"close_mid_reply": 1001},
    {"rubbish_text": True},
    {"rubbish_binary": True},
    {"malformed_json": True},
    {"unknown_events": True},
    {"duplicate_events": True},
    {"odd_bytes": True},
    {"flood": True},
)
PAUSE_S = 0.5


class Person(Driver):
    """Says the same whenever it is listened to, with a pause before."""

    async def _talk(self) -> None:
        frame = round(self._session.input_rate_hz * PIECE_S)
        room = speech.noise(2.0, dbfs=-60)
        clip = np.pad(speech.say("thank you"), (round(PAUSE_S * self._session.input_rate_hz), 0))
        place, noise = 0, 0
        while True:
            await asyncio.sleep(PIECE_S / SPEED)
            if self._machine.state in (State.CONNECTING, State.IDLE, State.FAULT):
                continue
            if place >= len(clip) and self._machine.state is State.LISTENING:
                place = 0
            piece = room[noise : noise + frame].copy()
            spoken = clip[place : place + frame]
            piece[: len(spoken)] += spoken
            place, noise = place + frame, (noise + frame) % (len(room) - frame)
            await self._session.audio(piece.tobytes())


def _session(url: str, transport: str) -> Session:
    key = Secret("k-0123456789")
    settings = Settings(
        api_key=key,
        connect_s=1.5,
        read_s=1.5,
        hear=HearSettings(url=url),
        think=ThinkSettings(url=f"{url}/v1", model="m", api_key=key),
        speak=SpeakSettings(url=url, transport=transport),
        turn=TurnSettings(silence_ms=400, pause_ms=200),
    )
    return Durable([Provider("fish", build(settings, "fish"))])()


async def _one(faults: Misbehaviour, transport: str, seed: int) -> Outcome:
    async with Rehearsal(misbehave=faults, conduct=Conduct(think_s=0.05, burst=20), record=False) as server:
        outcome = await Person(_session(server.http, transport), random.Random(seed)).run()
    return replace(outcome)


def _plans(stage: str, count: int, rng: random.Random) -> list[Misbehaviour]:
    plans = []
    for number in range(count):
        fault = FAULTS[number % len(FAULTS)]
        lasting = None if rng.random() < 0.3 else rng.randrange(1, 8)
        plans.append(Misbehaviour(**fault, stage=stage.split()[0], spared=rng.randrange(12), sessions=lasting))  # type: ignore[arg-type]
    return plans


async def _run(stage: str, count: int) -> tuple[collections.Counter[str], float, list[str]]:
    """Return outcomes, the longest conversation in seconds, and what is wrong."""
    transport = "http" if stage.endswith("http") else "live"
    plans = _plans(stage, count, random.Random(7))
    gate = asyncio.Semaphore(AT_ONCE)

    async def held(number: int, plan: Misbehaviour) -> Outcome:
        async with gate:
            return await _one(plan, transport, number)

    await held(0, Misbehaviour())  # what is loaded once is loaded now
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    outcomes = await asyncio.gather(*(held(number, plan) for number, plan in enumerate(plans)))
    wrong = [f"{plan}: {outcome.how}" for plan, outcome in zip(plans, outcomes, strict=True) if outcome.how.startswith("stuck")]
    wrong += [f"{plan}: sound of an interrupted reply" for plan, o in zip(plans, outcomes, strict=True) if o.dead_sound]
    for plan, outcome in zip(plans, outcomes, strict=True):
        if outcome.how != "went on" and FAULTS[plans.index(plan) % len(FAULTS)] in ({}, {"odd_bytes": True}, {"flood": True}):
            wrong.append(f"{plan}: {outcome.how}")
    wrong += await _left_behind(before)
    return collections.Counter(outcome.how for outcome in outcomes), max(outcome.took_s for outcome in outcomes), wrong


async def _left_behind(before: tuple[int, int]) -> list[str]:
    deadline = time.monotonic() + 5
    while True:
        gc.collect()
        left = sum(isinstance(made, (DurableSession, CascadeSession)) for made in gc.get_objects())
        tasks = len(asyncio.all_tasks()) - 1
        now = threading.active_count(), len(os.listdir("/proc/self/fd"))
        if not left and not tasks and now <= before:
            return []
        if time.monotonic() > deadline:
            return [f"left behind: {left} sessions, {tasks} tasks; threads and descriptors {now}, {before} before"]
        await asyncio.sleep(0.1)


def main() -> int:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3 * len(FAULTS)
    stages = sys.argv[2:] or STAGES
    columns = ("went on", "ended quietly", "ended with a fault")
    sys.stdout.write(f"{count} conversations for each stage, a fault at a random time of each, {AT_ONCE} at a time\n\n")
    sys.stdout.write(f"| stage | {' | '.join(columns)} | longest | wrong |\n|---|{'---|' * (len(columns) + 2)}\n")
    status = 0
    for stage in stages:
        counted, longest_s, wrong = asyncio.run(_run(stage, count))
        cells = " | ".join(str(counted[column]) for column in columns)
        sys.stdout.write(f"| {stage} | {cells} | {longest_s:.1f} s | {len(wrong)} |\n")
        sys.stdout.flush()
        for line in wrong[:10]:
            sys.stdout.write(f"  {line}\n")
        status |= bool(wrong)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
