"""Tasks that nobody awaits."""

from __future__ import annotations

import asyncio

from pipit.tasks import Tasks


async def test_what_a_task_dies_of_is_handed_on_and_the_others_go_on() -> None:
    deaths: list[BaseException] = []
    tasks = Tasks(deaths.append)
    mistake = RuntimeError("a mistake of ours")

    async def die() -> None:
        raise mistake

    async with asyncio.timeout(5):
        lasting = tasks.spawn(asyncio.sleep(60))
        dying = tasks.spawn(die())
        await asyncio.wait((dying,))
        await asyncio.sleep(0)
        assert deaths == [mistake]
        assert list(tasks) == [lasting]
        lasting.cancel()
        await asyncio.wait((lasting,))
        await asyncio.sleep(0)
    assert list(tasks) == []
    assert deaths == [mistake], "being cancelled is no death"


async def test_it_can_be_gone_over_while_tasks_end() -> None:
    tasks = Tasks(lambda error: None)
    async with asyncio.timeout(5):
        for _ in range(3):
            tasks.spawn(asyncio.sleep(60))
        for task in tasks:
            task.cancel()
            await asyncio.wait((task,))
    assert list(tasks) == []
