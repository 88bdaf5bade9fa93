"""Which of the tools that a client declared the agent calls for a request, and what it makes of the results. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipit.offline.words import time_in_words
from pipit.rehearsal.skills import Call, Reply

_MEANT: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"\b(volume|louder|softer)\b"), ("volume",)),
    (re.compile(r"\btimers?\b"), ("timer",)),
    (re.compile(r"\bclock\b"), ("time", "clock")),
    (re.compile(r"\b(lamp|light)\b"), ("lamp", "light")),
)
"""What is asked for -> words of which one is in the name of the tool for it."""

_NUMBERS = {"one": 1, "two": 2, "five": 5, "ten": 10, "twenty": 20, "fifty": 50}
_STEP = 10
"""How much louder "louder" is."""


def wanted(request: str, tools: Sequence[Mapping[str, Any]]) -> Call | None:
    """Return the call that a request leads to, if a tool was declared for it; of several the one that takes most of the request.

    Args:
        request: what the person said; arguments may stand in it as a JSON object.
        tools: each with `name`, and `parameters` as JSON Schema.
    """
    words = request.lower()
    names = {part for pattern, parts in _MEANT if pattern.search(words) for part in parts}
    names |= {word for word in re.findall(r"\w+", words) if len(word) > 3}
    calls = [
        Call(tool["name"], _arguments(request, tool)) for tool in tools if names & set(re.split(r"[\W_]+", tool["name"].lower()))
    ]
    return max(calls, key=lambda call: len(call.arguments), default=None)


def told(results: Iterable[tuple[str, bool]]) -> Reply:
    """Return what the agent says about what its tools answered: (result, whether it is an error)."""
    return Reply("tool", tuple(_sentence(result, is_error=is_error) for result, is_error in results))


def _sentence(result: str, *, is_error: bool) -> str:
    try:
        data = json.loads(result)
    except ValueError:
        data = None
    facts = data if isinstance(data, dict) else {}
    if is_error or result.startswith("Error") or "error" in facts:
        return f"That did not work: {_words(facts.get('error', result))}."
    clock = re.fullmatch(r"(\d\d):(\d\d)", str(facts.get("time")))
    if clock:
        return f"It is {time_in_words(int(clock[1]), int(clock[2]))}."
    return f"Done: {_words(result if data is None else data)}."


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items()) or "nothing to tell"
    return str(value).strip(" .")


def _arguments(request: str, tool: Mapping[str, Any]) -> dict[str, Any]:
    schema = tool.get("parameters")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if written := re.search(r"\{.*\}", request):
        try:
            given = json.loads(written[0])
        except ValueError:
            given = None
        if isinstance(given, dict) and (properties is None or given.keys() <= properties.keys()):
            return given
    found = {name: _argument(name, request.lower()) for name in properties or {}}
    return {name: value for name, value in found.items() if value is not None}


def _argument(name: str, words: str) -> Any:
    """Return what a request says about a parameter of this name; None if it says nothing."""
    number = next((value for word, value in _NUMBERS.items() if re.search(rf"\b{word}\b", words)), None)
    minutes = "minute" in words
    match name:
        case "seconds":
            return None if number is None else number * (60 if minutes else 1)
        case "minutes":
            return None if number is None else number / (1 if minutes else 60)
        case "level":
            return number
        case "change":
            return _STEP if re.search(r"\b(up|louder)\b", words) else -_STEP if re.search(r"\b(down|softer)\b", words) else None
        case "state":
            return next((state for state in ("on", "off") if re.search(rf"\b{state}\b", words)), None)
    return None
