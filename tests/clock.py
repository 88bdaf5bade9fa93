"""An event loop whose clock stands still while anything is being done, and leaps to the next deadline when all wait.

So no deadline ends what merely had no processor, however busy the machine is, and nobody waits for a silence of three seconds. For
tests whose client and server live in one loop. A thread pool, a look-up, and a child process that was told everything, are waited
for; while there is any other child process, the clock is the wall's.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from typing import Any

TURN_S = 1e-5
"""What a turn of the loop takes on its clock, so that whoever spins until a deadline reaches it."""

GRACE, MOST_GRACE_S = 0.05, 0.02
"""What is sent from one socket of this machine to another is there within microseconds. The longer a leap, the longer it is waited
for: this share of the leap, so long at most."""

OUTSIDE_S = 20.0
"""For so long at most does the clock stand still for what happens outside of the loop."""


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type, unused-ignore]
    """What the loop sleeps in."""

    loop: LeapingLoop

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; if nothing is, nor will be soon, let the time pass."""
        self.loop.now += TURN_S
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        patience = time.monotonic() + OUTSIDE_S
        while self.loop.runs_outside() and time.monotonic() < patience:
            if ready := super().select(0.002):
                return ready
        if timeout is None or self.loop.is_talked_to():
            began = time.monotonic()
            ready = super().select(timeout)
            self.loop.now += time.monotonic() - began
        elif not (ready := super().select(min(GRACE * timeout, MOST_GRACE_S))):
            self.loop.now += timeout
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """The loop."""

    def __init__(self) -> None:
        self.now = time.monotonic()
        self._jobs = 0
        self._children: list[asyncio.SubprocessTransport] = []
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return what the deadlines of this loop are counted in, in seconds."""
        return self.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """See asyncio."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._is_done)
        return future

    def _is_done(self, _: object) -> None:
        self._jobs -= 1

    async def subprocess_exec(self, *args: Any, **options: Any) -> Any:
        """See asyncio."""
        transport, protocol = await super().subprocess_exec(*args, **options)
        self._children.append(transport)
        return transport, protocol

    def runs_outside(self) -> bool:
        """Say whether something happens outside of this loop that the loop will hear of."""
        looked_up = any(thread.name == "pipit-resolver" for thread in threading.enumerate())
        return bool(self._jobs or looked_up or any(_was_told(child) and _is_heard(child) for child in self._living()))

    def is_talked_to(self) -> bool:
        """Say whether there is a child that may be told more, and does what it likes until then."""
        return not all(map(_was_told, self._living()))

    def _living(self) -> list[asyncio.SubprocessTransport]:
        self._children = [child for child in self._children if child.get_returncode() is None]
        return self._children


def _was_told(child: asyncio.SubprocessTransport) -> bool:
    stdin = child.get_pipe_transport(0)
    return stdin is None or stdin.is_closing()


def _is_heard(child: asyncio.SubprocessTransport) -> bool:
    """Say whether the output of a child is taken; if not, there has been too much of it already, and the child waits."""
    stdout = child.get_pipe_transport(1)
    return not isinstance(stdout, asyncio.ReadTransport) or stdout.is_closing() or stdout.is_reading()
