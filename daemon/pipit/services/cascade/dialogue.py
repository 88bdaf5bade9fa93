"""What the language model is told of the conversation: what was said and, of replies, what was heard. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipit.services import Line
from pipit.services.cascade import Agent, Call, Item, Result, User
from pipit.services.cascade.script import Script

ITEMS = 60
"""So many of the latest items are told; the oldest of them is what the person said."""

CANCELLED = '{"error": "cancelled"}'
"""The result of a call that nobody waited for: every call must have one."""


@dataclass
class _Reply:
    """One answer of the model."""

    script: Script
    calls: list[Call] = field(default_factory=list)
    results: dict[str, str] = field(default_factory=dict)


class Dialogue:
    """The items of one session, in order.

    Args:
        history: what was said before it began.
    """

    def __init__(self, history: Sequence[Line] = ()) -> None:
        self._entries: list[Item | _Reply] = [Agent(line.text) if line.by_agent else User(line.text) for line in history]
        self._replies: dict[str, _Reply] = {}
        self._calls: dict[str, _Reply] = {}
        self.version = 0
        """Changes whenever `items` would return something else."""

    def user(self, text: str) -> None:
        """Note what the person said."""
        self._entries.append(User(text))
        self.version += 1

    def reply(self, name: str, script: Script) -> None:
        """Note that an answer is being made; its text grows with the script."""
        entry = self._replies[name] = _Reply(script)
        self._entries.append(entry)
        self.version += 1

    def call(self, name: str, call: Call) -> None:
        """Note that an answer calls a tool."""
        self._replies[name].calls.append(call)
        self._calls[call.id] = self._replies[name]
        self.version += 1

    def result(self, call: str, text: str) -> None:
        """Note what a tool answered."""
        if call in self._calls:
            self._calls[call].results[call] = text
            self.version += 1

    def heard(self, name: str, samples: int) -> None:
        """Note that a reply was interrupted after so many samples of its sound had been heard."""
        if name in self._replies:
            self._replies[name].script.cut(samples)
            self.version += 1

    def was_heard(self, beginning: str) -> bool:
        """Return whether a reply that begins so was heard that far."""
        return any(reply.script.text.startswith(beginning) for reply in self._replies.values())

    def items(self) -> list[Item]:
        """Return what the model is told; each call is followed by its result."""
        items: list[Item] = []
        for entry in self._entries:
            items += _told(entry) if isinstance(entry, _Reply) else [entry]
        if len(items) > ITEMS:
            begin = next((place for place in range(len(items) - ITEMS, len(items)) if isinstance(items[place], User)), 0)
            items = items[begin:]
        return items


def _told(reply: _Reply) -> list[Item]:
    text = reply.script.text
    if not text and not reply.calls:
        return []
    results = [Result(call.id, reply.results.get(call.id, CANCELLED)) for call in reply.calls]
    return [Agent(text, tuple(reply.calls)), *results]
