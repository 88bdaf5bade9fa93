"""How a tool is described to an agent, whichever service it lives at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an agent is told about one tool."""

    name: str
    """Letters, digits, `_` and `-`, at most 64: what all services take."""
    description: str
    """When to use it, for the agent."""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    """JSON Schema of an object."""
