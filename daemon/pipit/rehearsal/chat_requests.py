"""OpenAI's chat/completions: what a request may hold, and in which order. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipit.rehearsal.shapes import Refused, Shape, anything, array, by, either, flag, nullable, number, one_of, record, text

_PART = record({"type": one_of("text"), "text": text}, required=["type", "text"])
_CONTENT = either(text, array(_PART))
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _name(value: Any, path: str) -> None:
    text(value, path)
    if not _NAME.fullmatch(value):
        raise Refused("value", path, f"Invalid '{path}': string does not match pattern. Expected '^[a-zA-Z0-9_-]+$'.")


def _schema(value: Any, path: str) -> None:
    record({name: anything for name in value} if isinstance(value, dict) else {})(value, path)
    if value and value.get("type") != "object":
        raise Refused("value", path, f"Invalid schema for function: schema must be of type 'object', got {value.get('type')!r}.")


_CALL = record(
    {
        "id": text,
        "type": one_of("function"),
        "function": record({"name": _name, "arguments": text}, required=["name", "arguments"]),
    },
    required=["id", "type", "function"],
)


def _told(role: str) -> Shape:
    return record({"role": one_of(role), "content": _CONTENT, "name": text}, required=["content"])


_MESSAGE = by(
    "role",
    {
        "system": _told("system"),
        "developer": _told("developer"),
        "user": _told("user"),
        "assistant": record(
            {"role": text, "content": nullable(_CONTENT), "name": text, "refusal": nullable(text), "tool_calls": array(_CALL)}
        ),
        "tool": record({"role": text, "content": _CONTENT, "tool_call_id": text}, required=["content", "tool_call_id"]),
    },
)
_FUNCTION = record({"name": _name, "description": text, "parameters": _schema, "strict": nullable(flag)}, required=["name"])
_TOOL = record({"type": one_of("function"), "function": _FUNCTION}, required=["type", "function"])
_NAMED = record({"type": one_of("function"), "function": record({"name": _name}, required=["name"])}, required=["type", "function"])

_FIELDS: Mapping[str, Shape] = {
    "model": text,
    "messages": array(_MESSAGE),
    "stream": nullable(flag),
    "stream_options": nullable(record({"include_usage": flag, "include_obfuscation": flag})),
    "tools": array(_TOOL, longest=128),
    "tool_choice": either(_NAMED, one_of("none", "auto", "required")),
    "parallel_tool_calls": flag,
    "reasoning_effort": nullable(one_of("none", "minimal", "low", "medium", "high", "xhigh")),
    "verbosity": nullable(one_of("low", "medium", "high")),
    "max_tokens": nullable(number(1, 1_000_000, whole=True)),
    "max_completion_tokens": nullable(number(1, 1_000_000, whole=True)),
    "temperature": nullable(number(0, 2)),
    "top_p": nullable(number(0, 1)),
    "presence_penalty": nullable(number(-2, 2)),
    "frequency_penalty": nullable(number(-2, 2)),
    "n": nullable(one_of(1)),
    "seed": nullable(number(-(2**63), 2**63, whole=True)),
    "stop": nullable(either(array(text, longest=4), text)),
    "user": text,
    "metadata": nullable(anything),
    "store": nullable(flag),
    "service_tier": nullable(text),
    "response_format": anything,
    "safety_identifier": text,
    "prompt_cache_key": text,
}


def check(data: Any, *, stream_options: bool = True) -> dict[str, Any]:
    """Check a request.

    Args:
        data: its JSON.
        stream_options: whether the server knows this parameter; smaller ones do not.

    Raises:
        Refused: the service would not take it.
    """
    fields = {name: shape for name, shape in _FIELDS.items() if stream_options or name != "stream_options"}
    for name in data if isinstance(data, dict) else ():
        if name not in fields:
            raise Refused("unknown", name, f"Unrecognized request argument supplied: {name}")
    record(fields, required=["model", "messages"])(data, "")
    if not data["messages"]:
        raise Refused("value", "messages", "Invalid 'messages': empty array. Expected an array with minimum length 1.")
    if data.get("stream_options") is not None and not data.get("stream"):
        raise Refused("value", "stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    if "tool_choice" in data and not data.get("tools"):
        raise Refused("value", "tool_choice", "'tool_choice' is only allowed when 'tools' are specified.")
    _in_order(data["messages"])
    return dict(data)


def _in_order(messages: Sequence[Mapping[str, Any]]) -> None:
    """Every call is answered right after it, and nothing else is."""
    open_calls: set[str] = set()
    for place, message in enumerate(messages):
        path = f"messages.[{place}]"
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                words = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
                raise Refused("value", f"{path}.role", f"Invalid parameter: {words}")
            open_calls.remove(message["tool_call_id"])
            continue
        _answered(open_calls, path)
        if message["role"] == "assistant":
            if message.get("content") is None and not message.get("tool_calls"):
                words = f"Invalid value for 'content': expected a string, got null in {path}."
                raise Refused("value", f"{path}.content", words)
            open_calls = {call["id"] for call in message.get("tool_calls", ())}
    _answered(open_calls, "messages")


def _answered(open_calls: set[str], path: str) -> None:
    if open_calls:
        words = "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'."
        missing = ", ".join(sorted(open_calls))
        raise Refused("value", path, f"{words} The following tool_call_ids did not have response messages: {missing}")


def words_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part["text"] for part in content)
