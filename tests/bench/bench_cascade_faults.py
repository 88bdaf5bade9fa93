"""What becomes of conversations with a cascade when one of its stages fails, at a random time and for a random while.

Run: python -m tests.bench.bench_cascade_faults [CONVERSATIONS [STAGE ...]]

The session that the daemon uses (the cascade with Fish Audio's stages and chat/completions, and what outlives sessions), and the
daemon's machine with short time limits, talk to the rehearsal over real sockets; a person says "thank you" whenever it is
listened to, at twice the pace. Wrong is what `bench_faults` calls wrong: replies that are begun, heard or ended when they are over,
conversations that are not in IDLE in time or that end though the fault was harmless, and whatever is left behind.
"""

from __future__ import annotations

import asyncio
import collections
import random
import sys
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
from pipit.services.durable import Durable, DurableSession
from pipit.services.link import Provider
from tests import speech
from tests.bench.bench_faults import PIECE_S, SPEED, Driver, Outcome, left_behind, memory_mb, resources

AT_ONCE = 4
STAGES = ("hear", "think", "speak live", "speak http")
HARMLESS: tuple[dict[str, Any], ...] = (
    {},
    {"odd_bytes": True},
    {"flood": True},
    {"unknown_events": True},
    {"duplicate_events": True},
)
"""With these every conversation goes on."""

FAULTS: tuple[dict[str, Any], ...] = (
    *HARMLESS,
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
)
PAUSE_S = 0.5
TURNS = 3
KEPT_MB = 60.0
"""So much more memory may be in use after the second half of a run than after the first: what the rehearsal keeps in the same
process goes up and down by 50 MB, and by 100 MB while it meets a fault for the first time, without growing from run to run. A stage
that kept 2 MB of sound in each of the 33 conversations would be seen."""


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
        outcome = await Person(_session(server.http, transport), random.Random(seed), turns=TURNS).run()
    return replace(outcome)


def _plans(stage: str, count: int, rng: random.Random) -> list[Misbehaviour]:
    plans = []
    for number in range(count):
        fault = FAULTS[number % len(FAULTS)]
        lasting = None if rng.random() < 0.3 else rng.randrange(1, 8)
        plans.append(Misbehaviour(**fault, stage=stage.split()[0], spared=rng.randrange(12), sessions=lasting))  # type: ignore[arg-type]
    return plans


def _judge(number: int, plan: Misbehaviour, outcome: Outcome) -> list[str]:
    """Return what is wrong with a conversation."""
    wrong, fault = [*outcome.wrong], FAULTS[number % len(FAULTS)]
    if outcome.how.startswith("stuck") or (fault in HARMLESS and outcome.how != "went on"):
        wrong.append(f"{outcome.how} after {outcome.answered} answers")
    return [f"{fault or 'no fault'} after {plan.spared}, {plan.sessions or 'all'} sessions: {line}" for line in wrong]


async def _run(stage: str, count: int) -> tuple[collections.Counter[str], float, list[str]]:
    """Return outcomes, the longest conversation in seconds, and what is wrong."""
    transport = "http" if stage.endswith("http") else "live"
    plans = _plans(stage, count, random.Random(7))
    gate = asyncio.Semaphore(AT_ONCE)

    async def held(number: int, plan: Misbehaviour) -> Outcome:
        async with gate:
            return await _one(plan, transport, number)

    for _ in range(2):  # what is loaded once is loaded now
        await asyncio.gather(*(held(number, Misbehaviour()) for number in range(AT_ONCE)))
        before = resources()
    outcomes: list[Outcome] = []
    for part in (range(count // 2), range(count // 2, count)):
        warm_mb = memory_mb()
        outcomes += await asyncio.gather(*(held(number, plans[number]) for number in part))
    wrong = [line for number, plan in enumerate(plans) for line in _judge(number, plan, outcomes[number])]
    wrong += await left_behind(before, (DurableSession, CascadeSession))
    more_mb = memory_mb() - warm_mb
    if more_mb > KEPT_MB:
        wrong.append(f"left behind: {more_mb:.1f} MB of memory")
    return collections.Counter(outcome.how for outcome in outcomes), max(outcome.took_s for outcome in outcomes), wrong


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
