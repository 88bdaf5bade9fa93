"""What becomes of conversations in which something goes wrong: for each service some hundred, each with a fault at a random point.

Run: python -m tests.bench.bench_faults [CONVERSATIONS [SERVICE ...]]

The session that the daemon uses (shell, codec and what outlives sockets), and the daemon's machine with short time limits, talk to
a scripted service that fails (see tests/bench/faulty.py). A conversation goes on where the person was answered after the fault;
others end. Wrong is: one that is not in IDLE in time, sound of a reply that was interrupted, a task, thread, socket or session
left behind.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import gc
import os
import random
import sys
import threading
import time
from dataclasses import dataclass, field

from pipit.core import events
from pipit.core.machine import Limits, Machine, State
from pipit.core.options import Secret
from pipit.services import (
    NEW,
    Ended,
    Event,
    Failed,
    Opener,
    Opening,
    Ready,
    ReplyAudio,
    ReplyDone,
    ReplyStarted,
    Session,
    UserStarted,
    UserStopped,
)
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.durable import Durable, DurableSession, Provider
from pipit.services.openai_presets import PRESETS
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import Deadlines, WebSocketSession
from tests.bench.faulty import FAULTS, TURNS, Faulty, Plan

AT_ONCE = 25
DEADLINES = Deadlines(connect_s=1.5, read_s=1.5, write_s=1.5, ping_s=1.5, close_s=0.5)
LIMITS = Limits(connect_s=4, idle_s=1.5, utterance_s=3, answer_s=3, reply_s=5, fault_s=0.2, conversation_s=12)
LATEST_S = 20.0
PIECE_S, SPEED = 0.02, 2


@dataclass
class Outcome:
    """What became of one conversation."""

    how: str = ""
    answered: int = 0
    dead_sound: bool = False
    took_s: float = 0.0
    states: list[str] = field(default_factory=list)


class Driver:
    """Stands for the conductor, the conversation and the person."""

    def __init__(self, session: Session, rng: random.Random) -> None:
        self.outcome = Outcome()
        self._session = session
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._machine = Machine(LIMITS, now=self._loop.time())
        self._dead: set[str] = set()
        self._live: set[str] = set()
        self._failed = False
        self._over = asyncio.Event()

    def _feed(self, event: events.Event) -> None:
        for command in self._machine.feed(event, self._loop.time()):
            if isinstance(command, events.CloseSession):
                self._over.set()

    async def run(self) -> Outcome:
        """Hold the conversation."""
        began = self._loop.time()
        self._feed(events.CaptureRunning())
        self._feed(events.Pressed())
        tasks = [asyncio.create_task(work) for work in (self._listen(), self._talk(), self._time())]
        try:
            async with asyncio.timeout(LATEST_S):
                await self._over.wait()
                await self._session.close()
                while self._machine.state is not State.IDLE:
                    await asyncio.sleep(0.05)
                    self._feed(events.TimePassed())
        except TimeoutError:
            self.outcome.how = f"stuck in {self._machine.state.value}"
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        for error in done:
            if isinstance(error, Exception):
                raise error
        await self._session.close()
        self.outcome.took_s = self._loop.time() - began
        if not self.outcome.how:
            enough = self.outcome.answered >= TURNS
            self.outcome.how = "went on" if enough else "ended with a fault" if self._failed else "ended quietly"
        return self.outcome

    async def _time(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            self._feed(events.TimePassed())

    async def _talk(self) -> None:
        piece = bytes(int(self._session.input_rate_hz * PIECE_S) * 2)
        while True:
            await asyncio.sleep(PIECE_S / SPEED)
            if self._machine.state not in (State.CONNECTING, State.IDLE, State.FAULT):
                await self._session.audio(piece)

    async def _listen(self) -> None:
        async with contextlib.aclosing(self._session.events()) as heard:  # type: ignore[type-var]
            async for event in heard:
                await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case Ready():
                self._feed(events.SessionReady())
            case UserStarted():
                self._feed(events.UserStarted())
            case UserStopped():
                self._feed(events.UserStopped())
            case ReplyStarted(reply=name):
                self._live.add(name)
                self._feed(events.ReplyExpected())
            case ReplyAudio(reply=name):
                self._feed(events.ReplyAudible())
                if name in self._dead:
                    self.outcome.dead_sound = True
                elif self._rng.random() < 0.05:
                    self._dead.add(name)
                    self._feed(events.Pressed())
                    await self._session.interrupt(name, 20, by_service=False)
            case ReplyDone(reply=name, status=status):
                self._live.discard(name)
                if status == "interrupted" and self._session.capabilities.speech_interrupts:
                    await self._session.interrupt(name, 20, by_service=True)
                self._feed(events.ReplyFinished())
                self.outcome.answered += status in ("completed", "cancelled")
                if self.outcome.answered >= TURNS:
                    self._feed(events.SessionEnded("enough"))
            case Ended(reason=reason):
                self._feed(events.SessionEnded(reason))
            case Failed(kind=kind, reason=reason) if kind != "benign":
                self._failed = True
                self._feed(events.SessionFailed(reason))


def opener(name: str, url: str) -> Opener:
    """Return a factory of sessions with short deadlines."""
    key = Secret("k-0123456789")

    def opened(opening: Opening = NEW, /) -> Session:
        if name == "assemblyai":
            return WebSocketSession(AssemblyAI(AssemblyAISettings(url=url, api_key=key), opening), DEADLINES)
        return WebSocketSession(OpenAIRealtime(Settings(url=url, api_key=key), PRESETS[name], opening), DEADLINES)

    return opened


async def runs(name: str, count: int, seed: int) -> list[tuple[Plan, Outcome]]:
    """Hold so many conversations with one service, some at a time."""
    rng = random.Random(seed)
    server = Faulty(PRESETS.get(name), rng)
    for number in range(count):
        server.plans.append(Plan(FAULTS[number % len(FAULTS)], rng.randrange(30), rng.random() < 0.3))
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Outcome:
        async with gate:
            session = Durable([Provider(name, opener(name, f"{server.url}/{number}"))])()
            return await Driver(session, random.Random(seed + number)).run()

    async with server.serving():
        outcomes = await asyncio.gather(*(one(number) for number in range(count)))
    return list(zip(server.plans, outcomes, strict=True))


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def service(name: str, count: int) -> tuple[collections.Counter[str], float, list[str]]:
    """Return outcomes, the longest conversation in seconds, and what is wrong."""
    before = threading.active_count(), _descriptors()
    results = await runs(name, count, seed=7)
    counted = collections.Counter(outcome.how for _, outcome in results)
    wrong = [f"{plan}: {outcome.how}" for plan, outcome in results if outcome.how.startswith("stuck")]
    wrong += [f"{plan}: sound of an interrupted reply" for plan, outcome in results if outcome.dead_sound]
    wrong += [
        f"{plan}: only {outcome.answered} answers" for plan, outcome in results if plan.fault == "none" and outcome.how != "went on"
    ]
    longest_s = max(outcome.took_s for _, outcome in results)
    del results
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        gc.collect()
        left = [made for made in gc.get_objects() if isinstance(made, (DurableSession, WebSocketSession))]
        tasks = len(asyncio.all_tasks()) - 1
        found = left or tasks or (threading.active_count(), _descriptors()) > before
        if not found:
            break
        del left
        await asyncio.sleep(0.1)
    else:
        wrong.append(
            f"left behind: {tasks} tasks; threads and descriptors {(threading.active_count(), _descriptors())}, {before} before"
        )
    return counted, longest_s, wrong


def main() -> int:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    names = sys.argv[2:] or [*PRESETS, "assemblyai"]
    columns = ("went on", "ended quietly", "ended with a fault")
    sys.stdout.write(f"{count} conversations each, a fault at a random point of each, {AT_ONCE} at a time\n\n")
    sys.stdout.write(f"| service | {' | '.join(columns)} | longest | wrong |\n|---|{'---|' * (len(columns) + 2)}\n")
    status = 0
    for name in names:
        counted, longest_s, wrong = asyncio.run(service(name, count))
        cells = " | ".join(str(counted[column]) for column in columns)
        sys.stdout.write(f"| {name} | {cells} | {longest_s:.1f} s | {len(wrong)} |\n")
        sys.stdout.flush()
        for line in wrong[:10]:
            sys.stdout.write(f"  {line}\n")
        status |= bool(wrong)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
