"""OpenAI's chat/completions as everybody speaks it: what is asked, and what is read out of a stream of server-sent events. Pure.

Servers differ most in how they call tools, so whatever can be understood is: fragments joined by index, by id, or in their order;
whole calls in one piece; no id, or the same one twice; arguments as an object; the legacy `function_call`. Reasoning is left out,
in fields of its own as well as between `<think>` and `</think>`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipit.core.tool import Declaration
from pipit.services.cascade import Agent, Call, Instruction, Item, Result, StageError, Text, User
from pipit.services.wire import Malformed, mapping_of, merge, objects, parse, sentence

SPOKEN = "What you write is spoken aloud: write plain sentences, without markup, lists, tables or emoji."

_OPENED, _CLOSED = "<think>", "</think>"


def body(
    model: str, instructions: str, items: Sequence[Item], tools: Sequence[Declaration], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the request.

    Args:
        model: in the server's words.
        instructions: what the agent is told about itself.
        items: what was said so far.
        tools: what may be called.
        extra: merged into it, last.
    """
    messages: list[dict[str, Any]] = [{"role": "system", "content": f"{instructions}\n\n{SPOKEN}".strip()}]
    messages += [_message(item) for item in items]
    asked: dict[str, Any] = {"model": model, "stream": True, "messages": messages}
    if tools:
        asked["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
            }
            for tool in tools
        ]
    return merge(asked, extra)


def _message(item: Item) -> dict[str, Any]:
    match item:
        case User(text):
            return {"role": "user", "content": text}
        case Instruction(text):
            return {"role": "system", "content": text}
        case Result(call, text):
            return {"role": "tool", "tool_call_id": call, "content": text}
        case Agent(text, ()):
            return {"role": "assistant", "content": text}
        case Agent(text, calls):
            called = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}} for call in calls
            ]
            return {"role": "assistant", "content": text or None, "tool_calls": called}
    raise TypeError(f"not an item: {item!r}")


@dataclass
class _Writing:
    """A call whose arguments are still coming."""

    id: str
    name: str
    arguments: str
    index: object


class Answer:
    """Reads one answer, line by line.

    Args:
        invent: returns an id that no call has had, for servers that give none or one twice.
        taken: ids that calls of the conversation have had.
    """

    def __init__(self, invent: Callable[[], str], taken: Iterable[str] = ()) -> None:
        self._invent = invent
        self._taken = set(taken)
        self._calls: list[_Writing] = []
        self._thinking = False
        self._waiting = ""
        """Text that may be the beginning of a tag."""
        self._said = False
        self._finished = ""
        self.is_done = False
        """The server has said that nothing follows."""
        self.malformed = 0
        """Lines that could not be understood."""

    def feed(self, line: bytes) -> list[Text]:
        """Take the next line of the stream; return the words in it.

        Raises:
            StageError: the server says that it failed.
        """
        name, _, value = line.partition(b":")
        if name != b"data":
            return []  # comments, blank lines, names of events
        value = value.strip()
        if value == b"[DONE]":
            self._finished, self.is_done = self._finished or "stop", True
            return []
        try:
            return self._chunk(parse(value))
        except Malformed:
            self.malformed += 1
            return []

    def whole(self, data: bytes) -> list[Text]:
        """Take an answer that is not streamed, although that was asked for.

        Raises:
            StageError: it is none, or says that the server failed.
        """
        try:
            answer = parse(data)
            found = self._chunk({**answer, "choices": [{**c, "delta": c.get("message")} for c in objects(answer, "choices")]})
        except Malformed:
            raise StageError("retryable", "sent an answer that is no chat completion") from None
        self._finished = self._finished or "stop"
        return found

    def finish(self) -> list[Text | Call]:
        """The stream has ended; return the rest of the words, and the calls.

        Raises:
            StageError: it did not end as it should.
        """
        rest, self._waiting = self._waiting if not self._thinking else "", ""
        if not self._finished:
            raise StageError("retryable", "broke off in the middle of the answer")
        if self._finished == "content_filter" and not self._said and not rest:
            raise StageError("benign", "the answer was held back by a content filter")
        if not (self._said or rest or self._calls):
            raise StageError("benign", "the answer was empty" if not self.malformed else "the answer made no sense")
        calls = [Call(self._id(call.id), call.name, call.arguments or "{}") for call in self._calls if call.name]
        return [*([Text(rest)] if rest else []), *calls]

    def _chunk(self, data: Mapping[str, Any]) -> list[Text]:
        if data.get("error"):
            error = data["error"]
            words = error.get("message") if isinstance(error, dict) else error
            raise StageError("retryable", f"failed in the middle of the answer ({sentence(str(words))})")
        found: list[Text] = []
        for choice in objects(data, "choices")[:1]:
            delta = choice.get("delta")
            if delta is not None:
                found += self._delta(mapping_of(delta))
            if isinstance(reason := choice.get("finish_reason"), str) and reason:
                self._finished = reason
        return found

    def _delta(self, delta: Mapping[str, Any]) -> list[Text]:
        words = "".join(text for key in ("content", "refusal") if isinstance(text := delta.get(key), str))
        for fragment in objects(delta, "tool_calls"):
            self._fragment(fragment)
        if isinstance(legacy := delta.get("function_call"), dict):
            self._fragment({"index": "function_call", "function": legacy})
        spoken = self._without_thoughts(words)
        self._said = self._said or bool(spoken.strip())
        return [Text(spoken)] if spoken else []

    def _fragment(self, fragment: Mapping[str, Any]) -> None:
        function = fragment.get("function")
        function = function if isinstance(function, dict) else {}
        identity, name = _text(fragment.get("id")), _text(function.get("name"))
        arguments = function.get("arguments")
        call = self._continued(fragment.get("index"), identity, name)
        if call is None:
            call = _Writing(identity, name, "", fragment.get("index"))
            self._calls.append(call)
        call.id, call.name = call.id or identity, call.name or name
        if isinstance(arguments, dict):
            call.arguments = json.dumps(arguments, ensure_ascii=False)
        else:
            call.arguments += _text(arguments)

    def _continued(self, index: object, identity: str, name: str) -> _Writing | None:
        """Return the call that a fragment goes on with; None: it begins another."""
        if index is not None:
            call = next((call for call in reversed(self._calls) if call.index == index), None)
        else:
            call = self._calls[-1] if self._calls else None
        if call is None or (identity and call.id and identity != call.id):
            return None  # some give every call the index 0
        if index is None and not identity and name and call.name and _is_object(call.arguments):
            return None
        return call

    def _without_thoughts(self, words: str) -> str:
        text, self._waiting = self._waiting + words, ""
        said: list[str] = []
        while text:
            tag = _CLOSED if self._thinking else _OPENED
            before, found, after = text.partition(tag)
            if not found:
                keep = _beginning_of(tag, text)
                self._waiting = text[len(text) - keep :]
                said += [] if self._thinking else [text[: len(text) - keep]]
                break
            said += [] if self._thinking else [before]
            self._thinking = not self._thinking
            text = after.lstrip() if not self._thinking and not self._said else after
        return "".join(said)

    def _id(self, given: str) -> str:
        identity = given if given and given not in self._taken else self._invent()
        self._taken.add(identity)
        return identity


def _beginning_of(tag: str, text: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a tag."""
    return next((count for count in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:count])), 0)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict) if re.match(r"\s*\{", text) else False
    except ValueError:
        return False
