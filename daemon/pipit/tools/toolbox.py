"""All tools that are on, by name."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipit.core.tool import Declaration
from pipit.tools import Controls, Outcome, Tool, ToolError
from pipit.tools.arguments import problems
from pipit.tools.builtin import Timers, builtin
from pipit.tools.command import command_tool
from pipit.tools.http import http_tool
from pipit.tools.mcp import Server
from pipit.tools.settings import Settings

LONGEST_RESULT = 16384
"""Characters of a result that are handed on; more would fill the agent's memory."""

ASKING_S = 0.8
"""So long a conversation waits for servers that have not said yet what they can do; later ones use what was said last. Less than
what the machine grants beyond the service's own deadline for connecting."""

ASKED_AGAIN_S = 600.0
"""After so long a server is asked again, while the conversation goes on."""


def make(settings: Settings, controls: Controls, complain: Callable[[str], None]) -> Toolbox:
    """Put together what the owner has turned on.

    Args:
        settings: the section `tools`.
        controls: what built-in tools move.
        complain: takes a line for the journal, about servers that cannot be used.

    Raises:
        ConfigError: a package that a tool needs is missing.
    """
    timers = Timers(controls)
    tools = builtin(settings, controls, timers)
    tools += [http_tool(tool) for tool in settings.http if tool.enabled]
    tools += [command_tool(tool) for tool in settings.command if tool.enabled]
    return Toolbox(tools, [Server(server) for server in settings.mcp if server.allow], timers, complain)


class Toolbox:
    """Runs tools. See `pipit.tools.Runner`.

    Args:
        tools: those of this device.
        servers: those that bring tools of their own.
        timers: what to hush when Pipit is called.
        complain: takes a line for the journal.
    """

    def __init__(self, tools: Sequence[Tool], servers: Sequence[Server], timers: Timers, complain: Callable[[str], None]) -> None:
        self._own = {tool.declaration.name: tool for tool in tools}
        self._servers = servers
        self._timers = timers
        self._complain = complain
        self._brought: dict[str, list[Tool]] = {}
        """What each server has said that it can do."""
        self._asked_at = -ASKED_AGAIN_S
        self._asking: asyncio.Task[None] | None = None

    async def declarations(self) -> tuple[Declaration, ...]:
        """Return what the agent is told. A conversation begins: nothing rings any more, and servers are asked where it is time."""
        self._timers.hush()
        if self._servers and self._asking is None and time.monotonic() - self._asked_at >= ASKED_AGAIN_S:
            self._asking = asyncio.create_task(self._ask())
        if self._asking is not None and len(self._brought) < len(self._servers):
            await asyncio.wait([self._asking], timeout=ASKING_S)
        return tuple(tool.declaration for tool in self._all().values())

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
        """See `pipit.tools.Runner`."""
        tool = self._all().get(name)
        if tool is None:
            return _failed(f"this device has no tool {name}")
        wrong = list(problems(tool.declaration.parameters, arguments))
        if wrong:
            return _failed("; ".join(wrong))
        try:
            result = await tool.run(arguments)
        except ToolError as error:
            return _failed(str(error))
        if len(result) > LONGEST_RESULT:
            result = json.dumps({"too_long": True, "beginning": result[: LONGEST_RESULT // 2]}, ensure_ascii=False)
        return Outcome(result, ends_conversation=tool.ends_conversation)

    async def close(self) -> None:
        """End what is still running: timers, and questions to servers."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await self._timers.close()

    def _all(self) -> dict[str, Tool]:
        brought = [tool for tools in self._brought.values() for tool in tools]
        return {**{tool.declaration.name: tool for tool in brought}, **self._own}

    async def _ask(self) -> None:
        self._asked_at = time.monotonic()
        await asyncio.gather(*(self._ask_one(server) for server in self._servers))
        self._asking = None

    async def _ask_one(self, server: Server) -> None:
        try:
            self._brought[server.name] = await server.tools()
        except ToolError as error:
            self._asked_at = -ASKED_AGAIN_S  # again at the next conversation
            self._complain(f"the tools of {server.name} cannot be used: {error}")


def _failed(words: str) -> Outcome:
    return Outcome(json.dumps({"error": words}, ensure_ascii=False), is_error=True)
