"""Tools of Model Context Protocol servers on the local network, through the package `mcp` (modelcontextprotocol.io).

A connection lives for one call: there is nothing to watch, to reconnect or to leave behind, and on a local network opening one
takes milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.tools import Tool, ToolError
from pipit.tools.arguments import flaws, plain
from pipit.tools.settings import SECRET, McpServer, fill

if TYPE_CHECKING:
    from mcp import Client

PAGES = 20
"""So many pages of a list of tools are read."""

LONGEST_DESCRIPTION = 1024
"""Characters of a tool's description that the agent is told."""


class Found(NamedTuple):
    """What a server can do."""

    tools: tuple[Tool, ...]
    problems: tuple[str, ...] = ()
    """Why others that are allowed are not among them."""


class Server:
    """One server.

    Args:
        settings: where it is and what of it is allowed.

    Raises:
        ConfigError: the package `mcp` is missing.
    """

    def __init__(self, settings: McpServer) -> None:
        try:  # here, because it takes a second or more, in which a conversation could not go on
            from pipit.tools.mcp_client import connected
        except ImportError as error:
            raise ConfigError(f"tools.mcp: needs the Python package mcp ({error}): sudo make install EXTRAS=mcp") from None
        self.name = settings.name
        self._settings = settings
        self._open = connected

    async def tools(self) -> Found:
        """Ask what it can do; return what of that is allowed.

        Raises:
            ToolError: it cannot be reached or gives no sense.
        """
        found = await self._list()
        tools, wrong = [], []
        for tool in found:
            if tool.name not in self._settings.allow:
                continue
            try:
                tools.append(self._tool(tool.name, tool.description or "", dict(tool.input_schema)))
            except ToolError as error:
                wrong.append(str(error))
        if missing := sorted(set(self._settings.allow) - {tool.name for tool in found}):
            wrong.append(f"it has no tool {', '.join(missing)}; it has {', '.join(tool.name for tool in found)}")
        return Found(tuple(tools), tuple(wrong))

    async def _list(self) -> list[Any]:
        found, cursor = [], None
        async with self._connected() as client:
            for _ in range(PAGES):
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    break
        return found

    def _tool(self, name: str, description: str, schema: dict[str, Any]) -> Tool:
        """Return a tool under a name that every service takes: servers call theirs light.turn_on."""

        async def run(arguments: Mapping[str, Any]) -> str:
            return await self._call(name, arguments)

        if wrong := next(flaws(schema), ""):
            raise ToolError(f"the schema of {name} cannot be used: {wrong}")
        offered = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64]
        return Tool(Declaration(offered, plain(description)[:LONGEST_DESCRIPTION], plain(schema)), run)

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> str:
        async with self._connected() as client:
            result = await client.call_tool(name, dict(arguments))
        words = "\n".join(part.text for part in result.content if part.type == "text")
        if result.is_error:
            raise ToolError(words or f"{name} failed without saying why")
        return words or "{}"

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        """Connect; whatever goes wrong inside becomes a ToolError, since the package raises many kinds, often in groups."""
        settings = self._settings
        secret = settings.secret.reveal() if settings.secret else ""
        headers = {name: fill(str(value), {SECRET: secret}) for name, value in settings.headers.items()}
        try:
            async with asyncio.timeout(settings.timeout_s), self._open(settings.url, headers) as client:
                yield client
        except TimeoutError:
            raise ToolError(f"{self.name} did not answer within {settings.timeout_s:g} s") from None
        except ToolError:
            raise
        except Exception as error:
            raise ToolError(f"{self.name} cannot be used: {_innermost(error)}") from error


def _innermost(error: BaseException) -> str:
    """Return the words of the exception that a group of groups was made of."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
