"""Built-in tools: volume, timers, time and date, the end of the conversation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipit.core.tool import Declaration
from pipit.tools import Controls, Tool, ToolError
from pipit.tools.settings import Settings

LONGEST_TIMER_S = 24 * 3600
MOST_TIMERS = 20

RING_EVERY_S, RINGS = 2.0, 30
"""A timer rings for a minute, or until Pipit is called."""


def builtin(settings: Settings, controls: Controls, timers: Timers) -> list[Tool]:
    """Return the built-in tools that are on."""
    tools: list[Tool] = []
    if settings.volume:
        tools += _volume(controls)
    if settings.timers:
        tools += timers.tools()
    if settings.clock:
        tools.append(_clock(controls))
    if settings.stop:
        tools.append(_stop())
    return tools


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


# -- volume ------------------------------------------------------------------------------------------------------------------------


def _volume(controls: Controls) -> Iterator[Tool]:
    async def get(_: Mapping[str, Any]) -> str:
        return json.dumps({"level": round(controls.volume())})

    async def put(arguments: Mapping[str, Any]) -> str:
        if ("level" in arguments) == ("change" in arguments):
            raise ToolError("give either level or change")
        wanted = arguments["level"] if "level" in arguments else controls.volume() + arguments["change"]
        controls.set_volume(min(100.0, max(0.0, float(wanted))))
        return json.dumps({"level": round(controls.volume())})

    yield Tool(Declaration("get_volume", "Returns how loud this speaker is, 0 to 100.", _object()), get)
    level = {"type": "number", "minimum": 0, "maximum": 100, "description": "How loud, 0 to 100."}
    change = {"type": "number", "minimum": -100, "maximum": 100, "description": "How much louder, or softer if negative."}
    words = (
        'Sets how loud this speaker is, with level, or makes it louder or softer, with change ("louder" is 10). Returns the level.'
    )
    yield Tool(Declaration("set_volume", words, _object(level=level, change=change)), put)


# -- timers ------------------------------------------------------------------------------------------------------------------------


@dataclass
class _Timer:
    label: str
    due: float
    """On the loop's clock."""
    task: asyncio.Task[None]


class Timers:
    """Timers, each a task that sleeps and then rings.

    Args:
        controls: what rings.
    """

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._timers: dict[int, _Timer] = {}
        self._ringing: set[asyncio.Task[None]] = set()
        self._count = 0

    def tools(self) -> Iterator[Tool]:
        """Yield the tools that set, list and cancel them."""
        seconds = {"type": "number", "minimum": 1, "maximum": LONGEST_TIMER_S, "description": "In how many seconds it rings."}
        label = {"type": "string", "maxLength": 60, "description": "What it is for, in the person's words."}
        number = {"type": "integer", "description": "As set_timer or list_timers returned it."}
        words = "Sets a timer that rings on this speaker. Returns its number."
        yield Tool(Declaration("set_timer", words, _object("seconds", seconds=seconds, label=label)), self._set)
        yield Tool(
            Declaration("list_timers", "Returns the timers that run, with the seconds that are left.", _object()), self._list
        )
        yield Tool(Declaration("cancel_timer", "Cancels a timer.", _object("timer", timer=number)), self._cancel)

    def hush(self) -> None:
        """Stop what is ringing; timers that still run are left alone."""
        for task in self._ringing:
            task.cancel()

    async def close(self) -> None:
        """Forget all timers."""
        tasks = [timer.task for timer in self._timers.values()] + list(self._ringing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._timers.clear()

    async def _set(self, arguments: Mapping[str, Any]) -> str:
        if len(self._timers) >= MOST_TIMERS:
            raise ToolError(f"there are {MOST_TIMERS} timers already; cancel one first")
        seconds, loop = float(arguments["seconds"]), asyncio.get_running_loop()
        self._count += 1
        number, label = self._count, str(arguments.get("label", ""))
        task = loop.create_task(self._sleep(number, seconds, label))
        self._timers[number] = _Timer(label, loop.time() + seconds, task)
        return json.dumps({"timer": number, "seconds": seconds})

    async def _list(self, _: Mapping[str, Any]) -> str:
        now = asyncio.get_running_loop().time()
        found = [
            {"timer": number, "label": timer.label, "seconds_left": round(timer.due - now)}
            for number, timer in self._timers.items()
        ]
        return json.dumps({"timers": found})

    async def _cancel(self, arguments: Mapping[str, Any]) -> str:
        timer = self._timers.pop(int(arguments["timer"]), None)
        if timer is None:
            raise ToolError("there is no such timer; list_timers tells which there are")
        timer.task.cancel()
        return json.dumps({"cancelled": True})

    async def _sleep(self, number: int, seconds: float, label: str) -> None:
        await asyncio.sleep(seconds)
        task = self._timers.pop(number).task
        self._ringing.add(task)
        try:
            for _ in range(RINGS):
                self._controls.ring(label)
                await asyncio.sleep(RING_EVERY_S)
        finally:
            self._ringing.discard(task)


# -- clock and end -----------------------------------------------------------------------------------------------------------------


def _clock(controls: Controls) -> Tool:
    async def get(_: Mapping[str, Any]) -> str:
        now = controls.now()
        facts = {"time": f"{now:%H:%M}", "date": f"{now:%Y-%m-%d}", "weekday": f"{now:%A}", "zone": now.tzname() or ""}
        return json.dumps(facts)

    return Tool(Declaration("get_time", "Returns the local time, date and weekday.", _object()), get)


def _stop() -> Tool:
    async def stop(_: Mapping[str, Any]) -> str:
        return json.dumps({"ended": True})

    words = "Ends the conversation. Use it when the person says goodbye or that nothing more is needed."
    return Tool(Declaration("end_conversation", words, _object()), stop, ends_conversation=True)
