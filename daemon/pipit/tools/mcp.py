"""Tools of Model Context Protocol servers on the local network, through the package `mcp` (modelcontextprotocol.io).

A connection lives for one call: there is nothing to watch, to reconnect or to leave behind, and on a local network opening one
takes milliseconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from pipit.core.tool import Declaration
from pipit.errors import ConfigError
from pipit.tools import Tool, ToolError
from pipit.tools.settings import SECRET, McpServer, fill

if TYPE_CHECKING:
    from mcp import Client


class Server:
    """One server.

    Args:
        settings: where it is and what of it is allowed.

    Raises:
        ConfigError: the package `mcp` is missing.
    """

    def __init__(self, settings: McpServer) -> None:
        if importlib.util.find_spec("mcp") is None:
            raise ConfigError("tools.mcp: needs the Python package mcp: pip install 'pipit[mcp]'")
        self.name = settings.name
        self._settings = settings

    async def tools(self) -> list[Tool]:
        """Ask what it can do; return what of that is allowed.

        Raises:
            ToolError: it cannot be reached, or something allowed is not there.
        """
        async with self._connected() as client:
            found = (await client.list_tools()).tools
        missing = set(self._settings.allow) - {tool.name for tool in found}
        if missing:
            raise ToolError(f"has no tool {', '.join(sorted(missing))}; it has {', '.join(tool.name for tool in found)}")
        return [self._tool(tool) for tool in found if tool.name in self._settings.allow]

    def _tool(self, tool: Any) -> Tool:
        async def run(arguments: Mapping[str, Any]) -> str:
            return await self._call(tool.name, arguments)

        return Tool(Declaration(tool.name, tool.description or "", dict(tool.input_schema)), run)

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
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        settings = self._settings
        secret = settings.secret.reveal() if settings.secret else ""
        headers = {name: fill(str(value), {SECRET: secret}) for name, value in settings.headers.items()}
        try:
            async with (
                asyncio.timeout(settings.timeout_s),
                create_mcp_http_client(headers=headers) as http,
                Client(streamable_http_client(settings.url, http_client=http)) as client,
            ):
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
