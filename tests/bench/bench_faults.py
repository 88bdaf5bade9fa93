"""What becomes of conversations in which something goes wrong: for each service some hundred, each with a fault at a random point.

Run: python -m tests.bench.bench_faults [CONVERSATIONS [SERVICE ...]]

The session that the daemon uses (shell, codec and what outlives sockets; in every fourth conversation without the latter), and the
daemon's machine with short time limits, talk to a scripted service that fails (see tests/bench/faulty.py). There are greetings,
tools, interruptions from both sides, and sessions that have to be renewed. A conversation goes on where the person was answered to
the end; others end. Wrong is, besides what the service notes:

- a conversation that is not in IDLE in time, or that does not go on though the fault was harmless;
- sound, a beginning or an end of a reply that was over; a tool that is called twice;
- a task, thread, descriptor, session or memory left behind.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import gc
import os
import random
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipit.core import events
from pipit.core.machine import Limits, Machine, State
from pipit.core.options import Secret
from pipit.core.tool import Declaration
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
    ToolCall,
    ToolCancelled,
    UserStarted,
    UserStopped,
    turns,
)
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.durable import Durable, DurableSession
from pipit.services.link import Provider
from pipit.services.openai_presets import PRESETS
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import Deadlines, WebSocketSession
from tests.bench.faulty import FAULTS, GREETING, HARMLESS, LOOK_BACK, Faulty, Plan

AT_ONCE = 16
TURNS = 5
"""So many answers are enough."""

DEADLINES = Deadlines(connect_s=2.5, read_s=2.5, write_s=2.5, ping_s=2.5, close_s=0.8)
LIMITS = Limits(connect_s=8, idle_s=6, utterance_s=5, answer_s=8, reply_s=8, fault_s=0.2, conversation_s=40)
LATEST_S = 60.0
PIECE_S, SPEED = 0.02, 2
WARM_UP = 20
"""Conversations before memory is looked at: what is loaded once, and what the allocator keeps."""

KEPT_MB, KEPT_KB = 6.0, 20.0
"""So much more memory may be in use after a run: in all, and for each conversation. A session's buffers of sound are 1.4 MB."""

TOOLS = (Declaration("look", "Looks out of the window."),)


@dataclass
class Outcome:
    """What became of one conversation."""

    how: str = ""
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    took_s: float = 0.0


class Driver:
    """Stands for the conductor, the conversation and the person, and sees that a session keeps its promises.

    Args:
        session: a new one.
        rng: decides when the person presses the button and how long tools take.
        plan: what the service knows of the conversation; a new one where nobody asks.
        turns: how many answers are enough; TURNS, if 0.
        limits: of the machine; LIMITS, if None.
    """

    def __init__(
        self, session: Session, rng: random.Random, plan: Plan | None = None, *, turns: int = 0, limits: Limits | None = None
    ) -> None:
        self.outcome = Outcome()
        self._session = session
        self._rng = rng
        self._plan = plan or Plan("none", 0, False)
        self._loop = asyncio.get_running_loop()
        self._machine = Machine(limits or LIMITS, now=self._loop.time())
        self._turns = turns or TURNS
        self._begun: set[str] = set()
        self._over_with: set[str] = set()
        """Replies that are over: nothing more may come of them."""
        self._last = ""
        """The reply that is being played, or was the latest."""
        self._stopped_at = 0
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._called: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer_due = False
        self._presses = False
        """The person will stop the present reply."""
        self._failed = False
        self._over = asyncio.Event()

    async def _feed(self, event: events.Event) -> None:
        for command in self._machine.feed(event, self._loop.time()):
            match command:
                case events.CloseSession():
                    self._over.set()
                case events.EndTurn():
                    await self._session.end_turn()
                case events.Interrupt():
                    await self._stop()

    async def _stop(self) -> None:
        """The person stops what is being said."""
        self._answer_due = False
        name = self._last if self._last in self._begun else None
        if name is not None:
            self._over_with.add(name)
            self._plan.stopped.add(name.rpartition(":")[2])
        await self._session.interrupt(name, 20, by_service=False)

    async def run(self) -> Outcome:
        """Hold the conversation."""
        began = self._loop.time()
        await self._feed(events.CaptureRunning())
        await self._feed(events.Pressed())
        tasks = [asyncio.create_task(work) for work in (self._listen(), self._talk(), self._time())]
        try:
            async with asyncio.timeout(LATEST_S):
                over = asyncio.create_task(self._over.wait())
                done, _ = await asyncio.wait([over, *tasks[1:]], return_when=asyncio.FIRST_COMPLETED)
                over.cancel()
                for task in done - {over}:
                    await task  # a bug
                await self._session.close()
                while self._machine.state is not State.IDLE:
                    await asyncio.sleep(0.05)
                    await self._feed(events.TimePassed())
        except TimeoutError:
            self.outcome.how = f"stuck in {self._machine.state.value}"
        tasks += [*self._tasks, *self._calls.values()]
        for task in tasks:
            task.cancel()
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(error, Exception):
                raise error
        await self._session.close()
        self.outcome.took_s = self._loop.time() - began
        if not self.outcome.how:
            enough = self.outcome.answered >= self._turns
            self.outcome.how = "went on" if enough else "ended with a fault" if self._failed else "ended quietly"
        return self.outcome

    async def _time(self) -> None:
        while True:
            await asyncio.sleep(0.05)
            await self._feed(events.TimePassed())

    async def _talk(self) -> None:
        samples = int(self._session.input_rate_hz * PIECE_S)
        while True:
            await asyncio.sleep(PIECE_S / SPEED)
            if self._machine.state not in (State.CONNECTING, State.IDLE, State.FAULT):
                self._plan.sent += 1
                await self._session.audio(np.full(samples, self._plan.sent, "<i2").tobytes())

    async def _listen(self) -> None:
        async with contextlib.aclosing(self._session.events()) as heard:  # type: ignore[type-var]
            async for event in heard:
                await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case Ready():
                await self._feed(events.SessionReady())
            case UserStarted():
                if self._plan.turn_from is None:
                    self._plan.turn_from = self._plan.sent
                await self._feed(events.UserStarted())
                await self._talk_over()
            case UserStopped():
                self._stopped_at = self._plan.sent
                await self._feed(events.UserStopped())
            case ReplyStarted(reply=name):
                self._begin(name)
                await self._feed(events.ReplyExpected())
            case ReplyAudio(reply=name):
                await self._sound(name)
            case ReplyDone(reply=name, status=status):
                await self._done(name, status)
            case ToolCall(call=call):
                if call in self._called:
                    self.outcome.wrong.append("a tool was called twice")
                self._called.add(call)
                self._answered()
                self._calls[call] = asyncio.create_task(self._run_tool(call))
            case ToolCancelled(call=call):
                if (task := self._calls.pop(call, None)) is not None:
                    task.cancel()
            case Ended(reason=reason):
                await self._feed(events.SessionEnded(reason))
            case Failed(kind=kind, reason=reason) if kind != "benign":
                self._failed = True
                await self._feed(events.SessionFailed(reason))

    def _begin(self, name: str) -> None:
        if name in self._begun or name in self._over_with:
            self.outcome.wrong.append("a reply began twice")
        self._begun.add(name)
        self._last, self._answer_due = name, False
        self._presses = self._rng.random() < 0.15

    def _answered(self) -> None:
        """What the person said needs not be heard again."""
        self._plan.turn_from, self._plan.answered_to = None, max(self._plan.answered_to, self._stopped_at)

    async def _sound(self, name: str) -> None:
        if name in self._over_with or name not in self._begun:
            self.outcome.wrong.append("sound of a reply that was over, or had not begun")
            return
        self._answered()
        await self._feed(events.ReplyAudible())
        if self._presses and self._machine.state is State.SPEAKING:
            self._presses = False
            await self._feed(events.Pressed())

    async def _talk_over(self) -> None:
        """The latest reply may still be playing when the person speaks."""
        if self._session.capabilities.speech_interrupts and self._last in self._over_with and self._rng.random() < 0.5:
            await self._session.interrupt(self._last, 20, by_service=True)

    async def _done(self, name: str, status: str) -> None:
        if name not in self._begun:
            self.outcome.wrong.append("a reply ended twice, or had not begun")
        stopped = name in self._over_with
        self._begun.discard(name)
        self._over_with.add(name)
        if stopped:
            return
        if status == "interrupted":
            await self._session.interrupt(name, 20, by_service=True)
            await self._feed(events.ReplyInterrupted())
            return
        if self._calls or self._answer_due:
            await self._feed(events.ToolsRunning())
            return
        await self._feed(events.ReplyFinished())
        if status in ("completed", "cancelled"):
            self.outcome.answered += 1
            self._plan.replied = True
        if self.outcome.answered >= self._turns:
            await self._feed(events.SessionEnded("enough"))

    async def _run_tool(self, call: str) -> None:
        await asyncio.sleep(self._rng.random() * 0.1)
        del self._calls[call]
        self._answer_due = True
        running = asyncio.current_task()
        assert running is not None
        self._tasks.add(running)
        await self._session.tool_result(call, '{"weather": "fine"}', is_error=False)


def opener(name: str, url: str, plan: Plan) -> Opener:
    """Return a factory of sessions with short deadlines."""
    key = Secret("k-0123456789")
    greeting = GREETING if plan.greets else ""

    def opened(opening: Opening = NEW, /) -> Session:
        if name == "assemblyai":
            settings = AssemblyAISettings(url=url, api_key=key, greeting=greeting)
            return WebSocketSession(AssemblyAI(settings, opening), DEADLINES)
        preset = PRESETS[name] if plan.life_s is None else replace(PRESETS[name], max_session_s=plan.life_s)
        return WebSocketSession(OpenAIRealtime(Settings(url=url, api_key=key, greeting=greeting), preset, opening), DEADLINES)

    return opened


@contextlib.contextmanager
def shortened() -> Iterator[None]:
    """Have the daemon look back less far for the beginning of a turn, as all is quicker here."""
    usual = turns.LOOK_BACK_S
    turns.LOOK_BACK_S = LOOK_BACK * PIECE_S
    try:
        yield
    finally:
        turns.LOOK_BACK_S = usual


async def _tools() -> tuple[Declaration, ...]:
    return TOOLS


def plans(count: int, seed: int, always: float = 0.3) -> list[Plan]:
    """Return what is to happen in so many conversations; each kind of fault comes as often, and this part of them lasts."""
    rng, found = random.Random(seed), []
    for number in range(count):
        fault = FAULTS[number % len(FAULTS)]
        plan = Plan(fault, rng.randrange(60), rng.random() < always, greets=rng.random() < 0.3, durable=rng.random() < 0.75)
        if plan.durable and rng.random() < 0.3:
            plan.life_s = 0.7
        found.append(plan)
    return found


async def runs(server: Faulty, name: str, planned: list[Plan]) -> list[tuple[Plan, Outcome]]:
    """Hold conversations with one service, some at a time."""
    first = len(server.plans)
    server.plans += planned
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Outcome:
        async with gate:
            plan = server.plans[number]
            opened = opener(name, f"{server.url}/{number}", plan)
            session = Durable([Provider(name, opened)], _tools)() if plan.durable else opened(Opening(TOOLS))
            return await Driver(session, random.Random(number), plan).run()

    outcomes = await asyncio.gather(*(one(number) for number in range(first, first + len(planned))))
    return list(zip(planned, outcomes, strict=True))


def judge(plan: Plan, outcome: Outcome) -> list[str]:
    """Return what is wrong with a conversation."""
    wrong = [*outcome.wrong, *plan.wrong]
    if outcome.how.startswith("stuck") or (plan.fault in HARMLESS and outcome.how != "went on"):
        wrong.append(f"{outcome.how} after {outcome.answered} answers")
    wrong += [f"{count} results of one call" for count in plan.results.values() if count > 1]
    return [f"{plan}: {line}" for line in wrong]


def resources() -> tuple[int, int, int]:
    """Return how many threads, descriptors and tasks (beside the one that asks) there are."""
    return threading.active_count(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()) - 1


def memory_mb() -> float:
    """Return the memory of this process in MB, without what the allocator could give back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


async def left_behind(before: tuple[int, int, int], kinds: tuple[type, ...], patience_s: float = 5) -> list[str]:
    """Wait until nothing is left of what ran; return what is after this time."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_s
    while True:
        gc.collect()
        found = sum(isinstance(made, kinds) for made in gc.get_objects())
        more = [now - then for now, then in zip(resources(), before, strict=True)]
        if not found and max(more) <= 0:
            return []
        if loop.time() > deadline:
            named = zip(("threads", "descriptors", "tasks"), more, strict=True)
            return [f"left behind: {found} sessions; " + ", ".join(f"{number} {what}" for what, number in named)]
        await asyncio.sleep(0.1)


async def service(
    name: str, count: int, warm_up: int = WARM_UP, always: float = 0.3
) -> tuple[collections.Counter[str], float, list[str]]:
    """Return outcomes and what the agent did, the longest conversation in seconds, and what is wrong."""
    before = resources()
    server = Faulty(PRESETS.get(name), random.Random(5))
    kinds = (DurableSession, WebSocketSession)
    with shortened():
        async with server.serving():
            results = await runs(server, name, plans(warm_up, 11, always))
            await left_behind((1000, 1000, 1000), kinds)
            warm_mb = memory_mb()
            results += await runs(server, name, plans(count, 7, always))
    counted = collections.Counter(outcome.how for _, outcome in results[warm_up:]) + server.did
    longest_s = max(outcome.took_s for _, outcome in results)
    wrong = [line for plan, outcome in results for line in judge(plan, outcome)]
    wrong += await left_behind(before, kinds)
    more_mb = memory_mb() - warm_mb
    if more_mb > KEPT_MB + count * KEPT_KB / 1024:
        wrong.append(f"left behind: {more_mb:.1f} MB of memory")
    return counted, longest_s, wrong


def main() -> int:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    names = sys.argv[2:] or [*PRESETS, "assemblyai"]
    columns = ("went on", "ended quietly", "ended with a fault")
    did = ("greeting", "tool", "interruption", "next session", "resume")
    sys.stdout.write(f"{count} conversations each, a fault at a random point of each, {AT_ONCE} at a time\n\n")
    heads = [*columns, "longest", *(f"{what}s" for what in did), "wrong"]
    sys.stdout.write(f"| service | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}\n")
    status = 0
    for name in names:
        counted, longest_s, wrong = asyncio.run(service(name, count))
        cells = [*(counted[column] for column in columns), f"{longest_s:.1f} s", *(counted[what] for what in did), len(wrong)]
        sys.stdout.write(f"| {name} | {' | '.join(map(str, cells))} |\n")
        sys.stdout.flush()
        for line in wrong[:10]:
            sys.stdout.write(f"  {line}\n")
        status |= bool(wrong)
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
