"""OpenAI's HTTP endpoints for text: chat/completions, whole or streamed, and audio/transcriptions.

The model is the rehearsal's agent: it answers with its skills. A tool is called where a word of its name is in the request
("volume" of set_volume), with the arguments that stand there as JSON; what the tools answer is then said.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipit.rehearsal import skills
from pipit.rehearsal.agent import Agent, Conduct
from pipit.rehearsal.chat_requests import check, words_of
from pipit.rehearsal.recordings import multipart, recording
from pipit.rehearsal.shapes import Refused
from pipit.rehearsal.web import Visit

SHORTEST_S = 0.1
"""Of a recording."""

MID_WORDS = 3
"""After so many words of an answer happens what is to happen in the middle of it."""

_PIECE_CHARACTERS = 4
"""Of a tool's arguments, in one chunk."""

_CODES = {"unknown": "unknown_parameter", "missing": "missing_required_parameter", "type": "invalid_type", "value": "invalid_value"}
_THOUGHT = "The user asks me something, so I have to answer."


@dataclass(frozen=True)
class _Answer:
    """What the model says."""

    sentences: tuple[str, ...] = ()
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    """Names and arguments."""

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


class Chat:
    """Both endpoints."""

    def __init__(self, agent: Agent, conduct: Conduct) -> None:
        self._agent = agent
        self._conduct = conduct
        self._ids = itertools.count(1)

    async def completions(self, visit: Visit) -> None:
        """Answer POST /v1/chat/completions."""
        try:
            asked = check(_json(visit.exchange.body), stream_options=self._conduct.chat.stream_options)
            visit.exchange.asked = asked
        except Refused as refused:
            await visit.answer(400, error_of(refused))
            return
        answer = self._decide(asked["messages"], asked.get("tools") or () if asked.get("tool_choice") != "none" else ())
        visit.exchange.text = answer.text
        await asyncio.sleep(self._conduct.think_s)
        if asked.get("stream"):
            await self._stream(visit, asked, answer)
        else:
            await visit.answer(200, self._whole(asked, answer))

    async def transcriptions(self, visit: Visit) -> None:
        """Answer POST /v1/audio/transcriptions."""
        try:
            parts = multipart(visit.exchange.headers.get("content-type", ""), visit.exchange.body)
            if parts is None:
                raise Refused("type", "", "Invalid content type: expected multipart/form-data.")
            for name in ("file", "model"):
                if name not in parts:
                    raise Refused("missing", name, f"Missing required parameter: '{name}'.")
            asked = {name: part.decode("utf-8", "replace") for name, part in parts.items() if name != "file"}
            visit.exchange.asked = {**asked, "file": parts["file"]}
            shape = asked.get("response_format", "json")
            if shape not in ("json", "text", "verbose_json"):
                raise Refused("value", "response_format", f"Invalid value: '{shape}'.")
            sent = recording(parts["file"], "file")
            if sent.seconds < SHORTEST_S:
                words = f"Audio file is too short. Minimum audio length is {SHORTEST_S:g} seconds."
                raise Refused("value", "file", words, "audio_too_short")
        except Refused as refused:
            await visit.answer(400, error_of(refused))
            return
        visit.exchange.text, _ = await asyncio.gather(self._agent.transcribe(sent.samples), asyncio.sleep(self._conduct.hear_s))
        if shape == "text":
            await visit.answer(200, f"{visit.exchange.text}\n".encode(), "text/plain")
            return
        extra = {"language": "english", "duration": sent.seconds, "segments": []} if shape == "verbose_json" else {}
        await visit.answer(200, {"text": visit.exchange.text, **extra})

    def _decide(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> _Answer:
        last = messages[-1]
        if last["role"] == "tool":
            results = itertools.takewhile(lambda message: message["role"] == "tool", reversed(messages))
            said = [f"The answer is {words_of(message)}." for message in results]
            return _Answer(tuple(reversed(said)))
        if last["role"] in ("system", "developer"):
            return _Answer(skills.obey(words_of(last) or "help").sentences)
        request = words_of(last)
        if calls := tuple(_calls(request, tools)):
            return _Answer(calls=calls)
        turn = sum(message["role"] == "assistant" for message in messages)
        return _Answer(self._agent.answer(request, turn).sentences)

    def _whole(self, asked: Mapping[str, Any], answer: _Answer) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
        if answer.calls:
            message["tool_calls"] = [self._call(name, arguments) for name, arguments in answer.calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if answer.calls else "stop"}
        return {**self._head(asked, "chat.completion"), "choices": [choice], "usage": _usage(asked, answer)}

    def _head(self, asked: Mapping[str, Any], kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{next(self._ids)}", "object": kind, "created": 0, "model": asked["model"]}

    def _call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        function = {"name": name, "arguments": json.dumps(arguments)}
        return {"id": f"call_{next(self._ids)}", "type": "function", "function": function}

    async def _stream(self, visit: Visit, asked: Mapping[str, Any], answer: _Answer) -> None:
        head = self._head(asked, "chat.completion.chunk")
        options = asked.get("stream_options") or {}
        usage = {"usage": None} if options.get("include_usage") else {}
        await visit.begin(200, "text/event-stream; charset=utf-8")
        if self._conduct.chat.comments:
            await visit.send(b": still there\n\n: and now\n\n")
        sent = 0
        for delta in self._deltas(answer):
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
            await visit.event({**head, "choices": [choice], **usage})
            if delta.get("content") or delta.get("tool_calls"):
                sent += 1
                if sent == (1 if answer.calls else MID_WORDS) and await visit.mid_reply():
                    error = {"message": "The server had an error while processing your request.", "type": "server_error"}
                    await visit.event({"error": {**error, "param": None, "code": None}})
                    await visit.end()
                    return
                await asyncio.sleep(self._conduct.word_s)
        reason = "tool_calls" if answer.calls and self._conduct.chat.calls != "stopped" else "stop"
        await visit.event({**head, "choices": [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}], **usage})
        if usage:
            await visit.event({**head, "choices": [], "usage": _usage(asked, answer)})
        if self._conduct.chat.done:
            await visit.send(b"data: [DONE]\n\n")
        await visit.end()

    def _deltas(self, answer: _Answer) -> Iterator[dict[str, Any]]:
        yield {"role": "assistant", "content": None if answer.calls else "", "refusal": None}
        if self._conduct.chat.reasoning == "tags":
            yield from ({"content": piece} for piece in ("<thi", "nk>", *_pieces(_THOUGHT), "</thi", "nk>\n\n"))
        elif self._conduct.chat.reasoning:
            name: str = self._conduct.chat.reasoning
            yield from ({name: piece} for piece in _pieces(_THOUGHT))
        yield from ({"content": piece} for piece in _pieces(answer.text))
        for index, (tool, arguments) in enumerate(answer.calls):
            yield from ({"tool_calls": [piece]} for piece in self._call_pieces(index, tool, arguments))

    def _call_pieces(self, index: int, name: str, arguments: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield one call as the server that is rehearsed writes it."""
        call = self._call(name, arguments)
        written = call["function"]["arguments"]
        match self._conduct.chat.calls:
            case "whole":
                yield {"index": index, **call}
                return
            case "object":
                yield {"index": index, **call, "function": {"name": name, "arguments": dict(arguments)}}
                return
            case "unnamed":
                yield {"index": index, **call, "id": ""}
                return
            case "unindexed":
                place: dict[str, Any] = {}
            case _:
                place = {"index": index}
        yield {**place, **call, "function": {"name": name, "arguments": ""}}
        again = {"name": name} if self._conduct.chat.calls == "repeated" else {}
        for start in range(0, len(written), _PIECE_CHARACTERS):
            yield {**place, "function": {**again, "arguments": written[start : start + _PIECE_CHARACTERS]}}


def error_of(refused: Refused) -> dict[str, Any]:
    """Return the answer to a request that was refused."""
    code = refused.code or _CODES[refused.problem]
    return {"error": {"message": refused.message, "type": "invalid_request_error", "param": refused.path or None, "code": code}}


def refusal(status: int) -> dict[str, Any]:
    """Return the answer of a service that refuses everything."""
    kinds = {
        401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
        429: ("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    }
    message, kind, code = kinds.get(status, ("misbehaving", "server_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        message = "We could not parse the JSON body of your request."
        raise Refused("type", "", message) from None


def _calls(request: str, tools: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for tool in tools:
        name = tool["function"]["name"]
        words = [word for word in re.split(r"[_-]", name.lower()) if len(word) > 3]
        if any(re.search(rf"\b{word}\b", request.lower()) for word in words):
            found = re.search(r"\{.*?\}", request)
            yield name, json.loads(found[0]) if found else {}


def _pieces(words: str) -> list[str]:
    """Cut a text as a model writes it: each word with the blank before it."""
    return re.findall(r"\s*\S+", words)


def _usage(asked: Mapping[str, Any], answer: _Answer) -> dict[str, int]:
    prompt = sum(len(words_of(message).split()) for message in asked["messages"])
    completion = len(answer.text.split()) + len(answer.calls)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
