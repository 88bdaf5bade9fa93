"""All tools that are on, by name."""

from __future__ import annotations

import asyncio
import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipit.core.tool import Declaration
from pipit.tools import Controls, Outcome, Tool, ToolError
from pipit.tools.arguments import plain, problems
from pipit.tools.builtin import Timers, builtin
from pipit.tools.command import command_tool
from pipit.tools.http import http_tool
from pipit.tools.mcp import Server
from pipit.tools.settings import Settings

LONGEST_RESULT = 16384
"""Characters of a result that are handed on; more would fill the agent's memory."""

LONGEST_ERROR = 2000
"""Characters of what went wrong."""

ASKING_S = 0.8
"""So long a conversation waits for a server that is asked for the first time; later ones use what was said last. Less than what the
machine grants beyond the service's own deadline for connecting."""

AT_ONCE, WAITING = 4, 16
"""So many calls are worked on at once, and so many more wait: an agent may call as often as it likes."""

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
        self._brought: dict[str, dict[str, Tool]] = {}
        """What each server has said that it can do."""
        self._late: set[str] = set()
        """Servers for which a conversation has waited in vain: no other one waits for them."""
        self._asked_at: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._running = 0

    async def declarations(self) -> tuple[Declaration, ...]:
        """Return what the agent is told. A conversation begins: nothing rings any more, and servers are asked where it is time."""
        self._timers.hush()
        for server in self._servers:
            asked_s = time.monotonic() - self._asked_at.get(server.name, -ASKED_AGAIN_S)
            if server.name not in self._asking and asked_s >= ASKED_AGAIN_S:
                self._asked_at[server.name] = time.monotonic()
                self._asking[server.name] = asyncio.create_task(self._ask(server))
        new = [task for name, task in self._asking.items() if name not in self._brought and name not in self._late]
        if new:
            await asyncio.wait(new, timeout=ASKING_S)
            self._late |= {server.name for server in self._servers} - set(self._brought)
        return tuple(tool.declaration for tool in self._all().values())

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
        """See `pipit.tools.Runner`."""
        tool = self._all().get(name)
        if tool is None:
            return _failed(f"this device has no tool {name}")
        try:
            given = plain(arguments)
        except ValueError as error:
            return _failed(f"what the arguments say {error}")
        if wrong := list(problems(tool.declaration.parameters, given)):
            return _failed("; ".join(wrong))
        if self._running >= AT_ONCE + WAITING:
            return _failed(f"{self._running} calls are being worked on already; call this one again later")
        self._running += 1
        try:
            async with self._at_once:
                return await self._run(tool, given)
        finally:
            self._running -= 1

    async def close(self) -> None:
        """End what is still running: timers, and questions to servers."""
        asking = list(self._asking.values())
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await self._timers.close()

    async def _run(self, tool: Tool, arguments: Mapping[str, Any]) -> Outcome:
        name = tool.declaration.name
        try:
            result = await tool.run(arguments)
        except ToolError as error:
            return _failed(str(error))
        except Exception as error:  # behind it are other people's programs; the speaker outlives what they come up with
            self._complain(f"the tool {name} broke down: {_where(error)}")
            return _failed(f"{name} broke down; the journal of this device says where")
        if len(result) > LONGEST_RESULT:
            result = json.dumps({"too_long": True, "beginning": result[: LONGEST_RESULT // 2]}, ensure_ascii=False)
        return Outcome(_encodable(result), ends_conversation=tool.ends_conversation)

    def _all(self) -> dict[str, Tool]:
        brought = {name: tool for tools in self._brought.values() for name, tool in tools.items()}
        return {**brought, **self._own}

    async def _ask(self, server: Server) -> None:
        try:
            found = await server.tools()
        except ToolError as error:
            del self._asked_at[server.name]  # again at the next conversation
            self._complain(f"the tools of {server.name} cannot be used: {error}")
        else:
            for problem in found.problems:
                self._complain(f"some tools of {server.name} cannot be used: {problem}")
            self._brought[server.name] = self._named(server.name, found.tools)
        finally:
            del self._asking[server.name]

    def _named(self, server: str, tools: Sequence[Tool]) -> dict[str, Tool]:
        """Return a server's tools by name, but those whose names are taken."""
        others = {name for other, brought in self._brought.items() if other != server for name in brought}
        named: dict[str, Tool] = {}
        for tool in tools:
            name = tool.declaration.name
            if not name or name in self._own or name in others or name in named:
                self._complain(f"some tools of {server} cannot be used: another tool is called {name!r} already")
            else:
                named[name] = tool
        return named


def _failed(words: str) -> Outcome:
    return Outcome(_encodable(json.dumps({"error": words[:LONGEST_ERROR]}, ensure_ascii=False)), is_error=True)


def _encodable(words: str) -> str:
    """Return words that can be sent: with a question mark for each half of a surrogate pair."""
    return words.encode("utf-8", "replace").decode()


def _where(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
