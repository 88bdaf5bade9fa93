"""The event loop of the tests: what it waits for, and what it leaps over."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE

import pytest

from tests.clock import OUTSIDE_S, LeapingLoop

SLOW = "import sys, time; sys.stdin.read(); time.sleep(0.3); print('done')"


@pytest.fixture
def runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=LeapingLoop)


def test_an_hour_of_waiting_takes_no_time_and_deadlines_pass_in_their_order(runner: asyncio.Runner) -> None:
    order: list[str] = []

    async def wait(seconds: float, name: str) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def both() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.gather(wait(3599, "before"), wait(3601, "after"), wait(7200, "long after"))

    began = time.monotonic()
    with runner:
        runner.run(both())
        assert runner.get_loop().time() - began > 3600
    assert order == ["before"]
    assert time.monotonic() - began < 1800


def test_who_spins_until_a_deadline_reaches_it(runner: asyncio.Runner) -> None:
    async def spin() -> None:
        async with asyncio.timeout(0.1):
            while True:  # noqa: ASYNC110 (that it spins is the point)
                await asyncio.sleep(0)

    with runner, pytest.raises(TimeoutError):
        runner.run(spin())


def test_a_thread_is_waited_for_beyond_the_deadline(runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with asyncio.timeout(0.01):
            await asyncio.to_thread(time.sleep, 0.2)

    with runner:
        runner.run(work())


@pytest.mark.parametrize(("stdin", "limit_s"), [(DEVNULL, 0.01), (PIPE, OUTSIDE_S)], ids=["told", "talked to"])
def test_a_program_is_waited_for(runner: asyncio.Runner, stdin: int, limit_s: float) -> None:
    """As long as it takes if it was told everything; else like on the wall."""

    async def work() -> bytes:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", SLOW, stdin=stdin, stdout=PIPE)
        if stdin == PIPE:
            await asyncio.sleep(0.1)
        async with asyncio.timeout(limit_s):
            return (await process.communicate(b"" if stdin == PIPE else None))[0]

    with runner:
        assert runner.run(work()) == b"done\n"


def test_what_is_on_its_way_between_two_sockets_comes_before_a_deadline(runner: asyncio.Runner) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(4))
        await reader.read()
        writer.close()

    async def ask() -> bytes:
        async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"ping")
            async with asyncio.timeout(1):
                answer = await reader.readexactly(4)
            writer.close()
            await writer.wait_closed()
            return answer

    with runner:
        assert runner.run(ask()) == b"ping"
