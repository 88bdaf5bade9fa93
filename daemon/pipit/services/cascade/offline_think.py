"""Thinks of little, but without a network: time and date, timers, volume, stop, help, by means of the device's own tools."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Sequence

from pipit.core.tool import Declaration
from pipit.services.cascade import Agent, Call, Instruction, Item, Result, Text, Think, User, skills
from pipit.services.cascade.settings import Settings

NOT_KNOWN = "I can only do simple things now. " + skills.HELP
NOT_HERE = "Sorry, that is turned off on this device."
STANDS_IN = "I cannot reach the internet at the moment, so I can only do simple things."

_THAT = re.compile(r"\bthat (.+)$", re.DOTALL)


def build(settings: Settings) -> Think:
    """Return the stage; there is nothing to set."""
    return OfflineThink()


class OfflineThink:
    """See `Think`. What has been done so far of a request is read from the items."""

    stands_in = STANDS_IN

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def release(self) -> None:
        """Nothing is open."""

    async def think(self, items: Sequence[Item], tools: Sequence[Declaration]) -> AsyncGenerator[Text | Call, None]:
        """See `Think.think`."""
        step = _next(items)
        if isinstance(step, str):
            yield Text(step)
        elif step.tool not in {tool.name for tool in tools}:
            yield Text(NOT_HERE)
        else:
            count = sum(len(item.calls) for item in items if isinstance(item, Agent))
            yield Call(f"offline-{count + 1}", step.tool, json.dumps(dict(step.arguments)))


def _next(items: Sequence[Item]) -> skills.Use | str:
    last = items[-1] if items else None
    if isinstance(last, Instruction):
        return _obey(last.text)
    place = max((place for place, item in enumerate(items) if isinstance(item, User)), default=None)
    asked = items[place] if place is not None else None
    if not isinstance(asked, User) or place is None:
        return ""
    skill = skills.find(asked.text)
    if skill is None:
        return NOT_KNOWN
    return skills.play(skill, [item.text for item in items[place:] if isinstance(item, Result)])


def _obey(instructions: str) -> str:
    """Say what Pipit wants the person to be told: "Tell the person that ..."; of anything else nothing can be made here."""
    found = _THAT.search(instructions) if instructions.startswith("Tell the person") else None
    return found[1][0].upper() + found[1][1:] if found else ""
