"""What the agent may do on this device: declared once, offered to every service alike.

A tool is a declaration (name, description, JSON Schema of its arguments) and a coroutine that does it. What goes wrong becomes a
result that the agent can speak about, never an exception of the conversation. `toolbox.make` puts together what the owner has
turned on; each kind of tools is a module: `builtin`, `http`, `command`, `mcp`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from pipit.core.tool import Declaration


class ToolError(Exception):
    """A tool could not do what it was asked for; the message is for the agent, which tells the person."""


class Tool(NamedTuple):
    """One thing that the agent may do."""

    declaration: Declaration
    run: Callable[[Mapping[str, Any]], Awaitable[str]]
    """Takes arguments that fit the schema; returns the result as JSON text; raises ToolError. Cancelling it ends what it does."""
    ends_conversation: bool = False
    """The conversation is over once what is being said has been said."""


class Outcome(NamedTuple):
    """What came of a call."""

    result: str
    """JSON text."""
    is_error: bool = False
    ends_conversation: bool = False


class Runner(Protocol):
    """Who runs tools, for the conversation."""

    async def run(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
        """Run a tool. Never raises; being cancelled ends the tool as well."""


class Controls(NamedTuple):
    """What built-in tools move on this device."""

    volume: Callable[[], float]
    """Returns 0 to 100."""
    set_volume: Callable[[float], None]
    ring: Callable[[str], None]
    """Sounds once, for the timer of this name."""
    now: Callable[[], datetime]
    """Returns the local time, with its zone."""
