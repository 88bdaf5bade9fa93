"""OpenAI Realtime (GA), the service's side: https://platform.openai.com/docs/guides/realtime."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import re
from collections.abc import AsyncIterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipit.core.pcm import HEARING_RATE_HZ, Resampler
from pipit.offline.ear import BLIP_MS, Ear, Started, Stopped, Utterance
from pipit.rehearsal import skills, tools
from pipit.rehearsal.agent import Agent, Conduct, Left, Say, chunk_bytes, sound
from pipit.rehearsal.dialects import Dialect
from pipit.rehearsal.misbehaviour import MID_REPLY_S
from pipit.rehearsal.openai_conversation import Conversation, words_of
from pipit.rehearsal.openai_session import CODES, client_events, defaults, format_of, turn_detection, updated
from pipit.rehearsal.shapes import Refused
from pipit.rehearsal.wire import Wire

LARGEST_APPEND_BYTES = 15 * 1024 * 1024
SMALLEST_COMMIT_MS = 100
_CHUNK_S = 0.1
_UNPACED_S = 1.0
"""So much of a reply is sent at once; only then the pace begins."""
_AUDIO_TOKENS_PER_S = {"in": 10, "out": 20}
_ARGUMENT_CHARACTERS = 8
"""Of a tool's arguments, in one piece."""
_ERROR_TYPES = {
    "insufficient_quota": "insufficient_quota",
    "rate_limit_exceeded": "rate_limit_error",
    "server_error": "server_error",
}


@dataclass(eq=False)
class _Response:
    """One reply while it is being made."""

    id: str
    params: Mapping[str, Any]
    """The settings for it: the session's, with those of `response.create` over them."""
    in_conversation: bool
    output: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    item: dict[str, Any] | None = None
    """The message among `output`, while it is being made."""
    text: str = ""
    """What it has said so far."""
    sent_s: float = 0.0
    chunk: bytes = b""
    """The latest piece of sound."""
    task: asyncio.Task[None] | None = None
    cancelled: str | None = None
    """Why it is cancelled."""
    too_long: bool = False
    sounding: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Where the latest piece of sound belongs."""

    @property
    def spoken_aloud(self) -> bool:
        return bool(self.params["output_modalities"] == ["audio"])

    @property
    def place(self) -> dict[str, Any]:
        """Return where the reply's content is, for events about it."""
        assert self.item is not None
        index = self.output.index(self.item)
        return {"response_id": self.id, "item_id": self.item["id"], "output_index": index, "content_index": 0}

    def part(self, kind: str) -> dict[str, Any]:
        """Return the content: as part of a response, "audio" or "text"; as content of an item, with "output_" before it."""
        return (
            {"type": f"{kind}audio", "transcript": self.text} if self.spoken_aloud else {"type": f"{kind}text", "text": self.text}
        )


class OpenAIRealtime:
    """One session.

    Args:
        wire: where events go.
        agent: who hears and answers.
        conduct: how the service behaves.
        model: what the client asked for in the address.
        opened_at: wall clock, seconds since 1970.
        say: takes a line for the person who watches.
        dialect: which service it is.
    """

    def __init__(
        self,
        wire: Wire,
        agent: Agent,
        conduct: Conduct,
        model: str,
        opened_at: float,
        say: Say,
        dialect: Dialect,
    ) -> None:
        limit_s = min(conduct.session_limit_s, dialect.session_limit_s or conduct.session_limit_s)
        if wire.faults.expire_s is not None:
            limit_s = wire.faults.expire_s
        conduct = dataclasses.replace(conduct, rates_hz=dialect.rates_hz or conduct.rates_hz, session_limit_s=limit_s)
        self._dialect = dialect
        self._ended: Utterance | None = None
        self._wire = wire
        self._agent = agent
        self._conduct = conduct
        self._say = say
        self._ids = itertools.count(1)
        self._shape = client_events(conduct.rates_hz)
        self._session = defaults(self._id("sess"), model, int(opened_at + conduct.session_limit_s), conduct.rates_hz[0])
        self._conversation_id = self._id("conv")
        self._conversation = Conversation()
        self._format = format_of(self._session, "input")
        self._ear = Ear(self._format.rate_hz, turn_detection(self._session))
        self._user_item = ""
        self._unanswered: str | None = None
        self._results: list[tuple[str, bool]] = []
        """What tools answered and the agent has not told yet."""
        self._hearing: dict[str, asyncio.Task[None]] = {}
        self._responses: dict[str, _Response] = {}
        self._replies = 0
        self._sounded = False
        self._committed_s = 0.0

    async def run(self, messages: AsyncIterable[str | bytes]) -> None:
        """Serve until the client's messages end."""
        self._wire.on_error = self._break_down
        if await self._wire.ready():
            await self._send("session.created", session=self._session)
        elif not self._wire.faults.error_at_ready:
            return
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._expire())
                async for message in messages:
                    await self._receive(message)
                raise Left
        except* Left:
            pass

    # -- what the client says ------------------------------------------------------------------------------------------------------

    async def _receive(self, message: str | bytes) -> None:
        event_id = None
        try:
            event = _parse(message)
            self._wire.record(event)
            event_id = event.get("event_id") if isinstance(event.get("event_id"), str) else None
            if answers := self._dialect.answers(event):
                for answer in answers:
                    await self._wire.send({"event_id": self._id("event"), **answer})
                return
            event = self._dialect.heard(event)
            self._shape(event, "")
            await getattr(self, "_on_" + event["type"].replace(".", "_"))(event)
        except Refused as refusal:
            await self._error(refusal, event_id)

    async def _on_session_update(self, event: Mapping[str, Any]) -> None:
        old = self._session
        self._session = new = updated(old, event["session"], sounded=self._sounded)
        if (written := format_of(new, "input")) != self._format:
            self._format = written
            self._ear = Ear(written.rate_hz, turn_detection(new))
        elif turn_detection(new) != turn_detection(old):
            self._ear.detect(turn_detection(new))
        await self._send("session.updated", session=new)

    async def _on_input_audio_buffer_append(self, event: Mapping[str, Any]) -> None:
        pcm = self._decode(event["audio"], "audio")
        if len(pcm) > LARGEST_APPEND_BYTES:
            raise Refused("value", "audio", f"Invalid 'audio': {len(pcm)} bytes. Expected at most {LARGEST_APPEND_BYTES}.")
        self._wire.received(pcm)
        for change in self._ear.feed(np.frombuffer(pcm, "<i2")):
            if isinstance(change, Started):
                await self._speech_started(change)
            elif isinstance(change, Stopped):
                await self._send("input_audio_buffer.speech_stopped", audio_end_ms=change.at_ms, item_id=self._user_item)
            elif isinstance(change, Utterance):
                await self._turn_ended(change)

    def _decode(self, audio: str, path: str) -> bytes:
        pcm = self._format.decode(audio)
        if pcm is None:
            kind = {"pcm": "PCM16", "pcmu": "mu-law", "pcma": "A-law"}[self._format.law]
            message = f"Invalid '{path}'. Expected base64-encoded audio bytes (mono {kind}) but got an invalid value."
            raise Refused("value", path, message)
        return pcm

    async def _on_input_audio_buffer_commit(self, event: Mapping[str, Any]) -> None:
        if self._ended is not None:
            utterance, self._ended = self._ended, None
            await self._commit(self._user_item, utterance)
            return
        length_ms = self._ear.uncommitted_ms
        if length_ms < SMALLEST_COMMIT_MS:
            raise Refused(
                "value",
                "",
                f"Error committing input audio buffer: buffer too small. Expected at least {SMALLEST_COMMIT_MS}ms of audio, "
                f"but buffer only has {length_ms:.2f}ms of audio.",
                "input_audio_buffer_commit_empty",
            )
        item_id = self._user_item if self._ear.talking else self._id("item")
        await self._commit(item_id, self._ear.take())
        if self._dialect.answers_commits:
            await self._respond({})

    async def _on_input_audio_buffer_clear(self, event: Mapping[str, Any]) -> None:
        self._ear.clear()
        await self._send("input_audio_buffer.cleared")

    async def _on_conversation_item_create(self, event: Mapping[str, Any]) -> None:
        item = {"object": "realtime.item", "status": "completed", **event["item"]}
        item.setdefault("id", self._id("item"))
        sound_parts = [part for part in item.get("content", ()) if part["type"] == "input_audio"]
        if len(sound_parts) > 1:
            raise Refused("value", "item.content", "The rehearsal takes one input_audio in an item.")
        sounds = [self._decode(part["audio"], "item.content") for part in sound_parts]
        previous = self._conversation.add(item, event.get("previous_item_id"))
        if item["type"] == "function_call_output":
            self._say(f"tool result for {item['call_id']}: {item['output']}")
            self._results.append((item["output"], False))
        if item["type"] == "function_call_output" or item.get("role") == "user":
            self._unanswered = item["id"]
        elif item.get("role") == "assistant":
            self._unanswered = None  # what was said before has been answered
        for pcm in sounds:
            samples = Resampler(self._ear.rate_hz, HEARING_RATE_HZ).process(np.frombuffer(pcm, "<i2"))
            self._hear(item, Utterance(samples, BLIP_MS))
        await self._send_item(item, previous)

    async def _on_conversation_item_retrieve(self, event: Mapping[str, Any]) -> None:
        await self._send("conversation.item.retrieved", item=self._conversation.get(event["item_id"]))

    async def _on_conversation_item_delete(self, event: Mapping[str, Any]) -> None:
        self._conversation.delete(event["item_id"])
        if self._unanswered == event["item_id"]:
            self._unanswered = None
        await self._send("conversation.item.deleted", item_id=event["item_id"])

    async def _on_conversation_item_truncate(self, event: Mapping[str, Any]) -> None:
        self._conversation.truncate(event["item_id"], event["audio_end_ms"])
        fields = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
        await self._send("conversation.item.truncated", **fields)

    async def _on_response_create(self, event: Mapping[str, Any]) -> None:
        await self._respond(event.get("response") or {})

    async def _on_response_cancel(self, event: Mapping[str, Any]) -> None:
        wanted = event.get("response_id")
        response = self._responses.get(wanted) if wanted else self._active
        if response is None:
            message = "Cancellation failed: no active response found"
            raise Refused("value", "response_id" if wanted else "", message, "response_cancel_not_active")
        await self._cancel(response, "client_cancelled")

    # -- turns ---------------------------------------------------------------------------------------------------------------------

    async def _speech_started(self, started: Started) -> None:
        self._user_item = self._id("item")
        await self._wire.turn_begins()
        await self._send("input_audio_buffer.speech_started", audio_start_ms=started.at_ms, item_id=self._user_item)
        response = self._active
        if response is not None and self._session["audio"]["input"]["turn_detection"]["interrupt_response"]:
            await self._cancel(response, "turn_detected")

    async def _turn_ended(self, utterance: Utterance) -> None:
        if self._dialect.holds_turns and not self._session["audio"]["input"]["turn_detection"]["create_response"]:
            self._ended = utterance
            return
        await self._commit(self._user_item, utterance)
        if self._session["audio"]["input"]["turn_detection"]["create_response"] and not utterance.blip:
            await self._respond({})

    async def _commit(self, item_id: str, utterance: Utterance) -> None:
        self._committed_s += len(utterance.samples) / HEARING_RATE_HZ
        await self._send("input_audio_buffer.committed", item_id=item_id, previous_item_id=self._conversation.last_id)
        item = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        previous = self._conversation.add(item)
        await self._send_item(item, previous)
        self._unanswered = item_id
        self._hear(item, utterance)

    def _hear(self, item: dict[str, Any], utterance: Utterance) -> None:
        self._hearing[item["id"]] = self._tasks.create_task(self._transcribe(item, utterance))

    async def _transcribe(self, item: dict[str, Any], utterance: Utterance) -> None:
        text = await self._agent.understand(utterance)
        index = next(place for place, part in enumerate(item["content"]) if part["type"] == "input_audio")
        item["content"][index]["transcript"] = text
        if text:
            self._wire.session.heard.append(text)
        self._say(f"heard {text!r}")
        settings = self._session["audio"]["input"]["transcription"]
        if settings is None:
            return
        kind, place = "conversation.item.input_audio_transcription", {"item_id": item["id"], "content_index": index}
        if self._wire.faults.transcription_fails:
            error = {"type": "server_error", "code": "audio_unintelligible", "message": "The audio could not be transcribed."}
            await self._send(f"{kind}.failed", **place, error={**error, "param": None})
            return
        whole = settings.get("model") == "whisper-1"
        for delta in [text] * bool(text) if whole else _incremental(text):
            await self._send(f"{kind}.delta", **place, delta=delta)
        usage = _transcription_usage(utterance, text, by_duration=whole)
        await self._send(f"{kind}.completed", **place, transcript=text, usage=usage)

    # -- replies -------------------------------------------------------------------------------------------------------------------

    @property
    def _active(self) -> _Response | None:
        """The one response of the conversation that is being made."""
        return next((response for response in self._responses.values() if response.in_conversation), None)

    async def _respond(self, params: Mapping[str, Any]) -> None:
        in_conversation = params.get("conversation", "auto") == "auto"
        if in_conversation and self._active is not None:
            message = (
                f"Conversation already has an active response in progress: {self._active.id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise Refused("value", "", message, "conversation_already_has_active_response")
        # Settings that only say how this one reply is made are treated as an update that is forgotten afterwards.
        own = ("output_modalities", "audio", "max_output_tokens", "tools", "tool_choice")
        settings = {name: params[name] for name in own if name in params}
        merged = updated(self._session, settings, sounded=self._sounded)
        texts = [words_of(self._resolve(item)) for item in params.get("input", ())]
        response = _Response(self._id("resp"), {**merged, "asked": params}, in_conversation)
        self._responses[response.id] = response
        await self._send("response.created", response=self._describe(response, "in_progress"))
        response.task = self._tasks.create_task(self._make(response, texts))
        await asyncio.sleep(0)  # a task that is cancelled before it has begun could not say so

    async def _make(self, response: _Response, texts: list[str]) -> None:
        try:
            reply, _ = await asyncio.gather(self._decide(response, texts), asyncio.sleep(self._conduct.think_s))
            if self._wire.faults.failed_reply:
                await self._finish(response, "failed")
                return
            if reply.sentences:
                self._wire.session.said.append(" ".join(reply.sentences))
                self._say(f"says {' '.join(reply.sentences)!r}")
                await self._begin(response)
                await (self._speak(response, reply) if response.spoken_aloud else self._write(response, reply))
                await self._end_item(response, "incomplete" if response.too_long else "completed")
            if reply.call is not None:
                await self._call(response, reply.call)
            await self._finish(response, "incomplete" if response.too_long else "completed")
        except asyncio.CancelledError:
            if response.cancelled is None:
                raise  # the session ends
            await self._finish(response, "cancelled")

    async def _decide(self, response: _Response, texts: list[str]) -> skills.Reply:
        self._replies += 1
        if not texts and response.in_conversation and self._unanswered is not None:
            item = self._conversation.get(self._unanswered)
            self._unanswered = None
            results, self._results = self._results, []
            if item["type"] == "function_call_output":
                return tools.told(results)
            if hearing := self._hearing.get(item["id"]):
                await asyncio.wait([hearing])
            texts = [words_of(item)]
        instructions = response.params["asked"].get("instructions") or ""
        if not texts and instructions.strip():
            return skills.obey(instructions)
        declared = () if response.params["tool_choice"] == "none" else response.params["tools"]
        request = " ".join(texts) if texts else "help"
        return self._agent.decide(request, self._replies - 1, declared, self._conduct.filler)

    def _resolve(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._conversation.get(item["id"]) if item["type"] == "item_reference" else item

    async def _begin(self, response: _Response) -> None:
        item: dict[str, Any] = {
            "id": self._id("item"),
            "object": "realtime.item",
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        response.item = item
        await self._add(response, item)
        await self._send("response.content_part.added", **response.place, part=response.part(""))

    async def _add(self, response: _Response, item: dict[str, Any]) -> None:
        response.output.append(item)
        place = {"response_id": response.id, "output_index": len(response.output) - 1}
        await self._send("response.output_item.added", **place, item=item)
        if response.in_conversation:
            previous = self._conversation.add(item)
            await self._send("conversation.item.added", item=item, previous_item_id=previous)

    async def _call(self, response: _Response, call: skills.Call) -> None:
        faults = self._wire.faults
        name = "no_such_tool" if faults.unknown_tool else call.name
        arguments = json.dumps(call.arguments)[: -1 if faults.bad_arguments else None]
        self._say(f"calls {name} with {arguments}")
        item: dict[str, Any] = {"id": self._id("item"), "object": "realtime.item", "type": "function_call"}
        item |= {"status": "in_progress", "call_id": self._id("call"), "name": name, "arguments": ""}
        await self._add(response, item)
        place = {"response_id": response.id, "item_id": item["id"], "output_index": len(response.output) - 1}
        kind = "response.function_call_arguments"
        for start in range(0, len(arguments), _ARGUMENT_CHARACTERS):
            delta = arguments[start : start + _ARGUMENT_CHARACTERS]
            await self._send(f"{kind}.delta", **place, call_id=item["call_id"], delta=delta)
        await self._send(f"{kind}.done", **place, call_id=item["call_id"], name=name, arguments=arguments)
        item |= {"status": "completed", "arguments": arguments}
        await self._item_done(response, item)

    async def _speak(self, response: _Response, reply: skills.Reply) -> None:
        assert response.item is not None
        output, written = response.params["audio"]["output"], format_of(response.params, "output")
        rate_hz, voice = written.rate_hz, output["voice"]
        voice_name = voice["id"] if isinstance(voice, dict) else voice
        sizes = chunk_bytes(_CHUNK_S, rate_hz, odd=self._wire.faults.odd_bytes and written.law == "pcm")
        spoken = self._conversation.speaks(response.item["id"])
        response.sounding = response.place
        self._wire.reply_begins()
        began = asyncio.get_running_loop().time()
        for sentence in reply.sentences:
            spoken.begin(sentence)
            for delta in _incremental(sentence if not response.text else " " + sentence):
                response.text += delta
                await self._send("response.output_audio_transcript.delta", **response.place, delta=delta)
            async with aclosing(sound(sentence, sizes, rate_hz, voice_name, output["speed"])) as chunks:
                async for chunk in chunks:
                    await self._pace(began, response.sent_s)
                    self._sounded = True
                    response.chunk = chunk
                    seconds = written.seconds(chunk)
                    response.sent_s += seconds
                    spoken.extend(seconds)
                    await self._send_chunk(response, seconds)
                    if self._wire.faults.incomplete_reply and response.sent_s >= MID_REPLY_S:
                        response.too_long = True
                        return

    async def _pace(self, began: float, sent_s: float) -> None:
        if self._wire.faults.flood:
            return
        due = began + (sent_s - _UNPACED_S) / self._conduct.burst
        await asyncio.sleep(due - asyncio.get_running_loop().time())

    async def _send_chunk(self, response: _Response, seconds: float) -> None:
        delta = format_of(response.params, "output").encode(response.chunk)
        event = self._event("response.output_audio.delta", **response.sounding, delta=delta)
        for said in self._dialect.said(event):
            await self._wire.send_sound(said, seconds)

    async def _write(self, response: _Response, reply: skills.Reply) -> None:
        for delta in _incremental(" ".join(reply.sentences)):
            response.text += delta
            await self._send("response.output_text.delta", **response.place, delta=delta)

    async def _finish(self, response: _Response, status: str) -> None:
        del self._responses[response.id]  # from here on it is too late to cancel it
        if response.item is not None:
            await self._end_item(response, "incomplete")
        await self._send("response.done", response=self._describe(response, status))
        if status == "cancelled" and response.chunk:
            for _ in range(self._wire.faults.late_chunks):
                await self._send_chunk(response, 0.0)

    async def _end_item(self, response: _Response, status: str) -> None:
        assert response.item is not None
        response.item["status"] = status
        if not response.item["content"]:  # a truncation has been quicker
            response.item["content"] = [response.part("output_")]
        if response.spoken_aloud:
            await self._send("response.output_audio.done", **response.place)
            await self._send("response.output_audio_transcript.done", **response.place, transcript=response.text)
        else:
            await self._send("response.output_text.done", **response.place, text=response.text)
        await self._send("response.content_part.done", **response.place, part=response.part(""))
        item, response.item = response.item, None
        await self._item_done(response, item)

    async def _item_done(self, response: _Response, item: dict[str, Any]) -> None:
        if response.in_conversation:
            previous = self._conversation.before(item["id"])
            await self._send("conversation.item.done", item=item, previous_item_id=previous)
        place = {"response_id": response.id, "output_index": response.output.index(item)}
        await self._send("response.output_item.done", **place, item=item)

    async def _cancel(self, response: _Response, reason: str) -> None:
        response.cancelled = reason
        assert response.task is not None
        response.task.cancel()
        await asyncio.wait([response.task])

    def _describe(self, response: _Response, status: str) -> dict[str, Any]:
        details: dict[str, Any] | None = None if status == "in_progress" else {"type": status}
        if details and (response.cancelled or response.too_long):
            details["reason"] = response.cancelled or "max_output_tokens"
        if details and status == "failed":
            code = self._wire.faults.code
            details["error"] = {
                "type": _ERROR_TYPES.get(code, "invalid_request_error"),
                "code": code,
                "message": f"Failed: {code}.",
            }
        output = {name: response.params["audio"]["output"][name] for name in ("format", "voice")}
        return {
            "object": "realtime.response",
            "id": response.id,
            "status": status,
            "status_details": details,
            "output": response.output if status != "in_progress" else [],
            "conversation_id": self._conversation_id if response.in_conversation else None,
            "output_modalities": response.params["output_modalities"],
            "max_output_tokens": response.params["max_output_tokens"],
            "audio": {"output": output},
            "usage": None if status == "in_progress" else self._usage(response),
            "metadata": response.params["asked"].get("metadata"),
        }

    def _usage(self, response: _Response) -> dict[str, Any]:
        heard, said = round(self._committed_s * _AUDIO_TOKENS_PER_S["in"]), round(response.sent_s * _AUDIO_TOKENS_PER_S["out"])
        words = len(response.text.split())
        return {
            "total_tokens": heard + said + words,
            "input_tokens": heard,
            "output_tokens": said + words,
            "input_token_details": {"audio_tokens": heard, "text_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"audio_tokens": said, "text_tokens": words},
        }

    # -- events --------------------------------------------------------------------------------------------------------------------

    async def _break_down(self) -> None:
        code = self._wire.faults.code
        refusal = Refused("value", "", f"The session has failed: {code}.", code)
        await self._error(refusal, None, _ERROR_TYPES.get(code, "invalid_request_error"))
        if code == "session_expired":
            await self._wire.close(1001, code)

    async def _expire(self) -> None:
        await asyncio.sleep(self._conduct.session_limit_s)
        message = f"Your session hit the maximum duration of {self._conduct.session_limit_s / 60:g} minutes."
        await self._error(Refused("value", "", message, "session_expired"), None)
        await self._wire.close(1001, message)

    async def _send_item(self, item: Mapping[str, Any], previous: str | None) -> None:
        for kind in ("added", "done"):
            await self._send(f"conversation.item.{kind}", item=item, previous_item_id=previous)

    async def _error(self, refusal: Refused, event_id: str | None, kind: str = "invalid_request_error") -> None:
        error = {
            "type": kind,
            "code": refusal.code or CODES[refusal.problem],
            "message": refusal.message,
            "param": refusal.path or None,
            "event_id": event_id,
        }
        self._say(f"error {error['code']}: {refusal.message}")
        await self._send("error", error=error)

    async def _send(self, kind: str, **fields: Any) -> None:
        for said in self._dialect.said(self._event(kind, **fields)):
            await self._wire.send(said)

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "event_id": self._id("event"), **fields}

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._wire.session.number}_{next(self._ids):06}"


def _parse(message: str | bytes) -> dict[str, Any]:
    try:
        event = json.loads(message) if isinstance(message, str) else None
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise Refused(
            "value", "", "Could not parse your message as a JSON object. Send text messages with valid JSON.", "invalid_json"
        )
    return event


def _incremental(text: str) -> list[str]:
    """Cut a text into words that keep the space before them."""
    return re.findall(r"\s*\S+", text)


def _transcription_usage(utterance: Utterance, text: str, *, by_duration: bool) -> dict[str, Any]:
    seconds = len(utterance.samples) / HEARING_RATE_HZ
    if by_duration:
        return {"type": "duration", "seconds": seconds}
    heard, words = round(seconds * _AUDIO_TOKENS_PER_S["in"]), len(text.split())
    return {"type": "tokens", "input_tokens": heard, "output_tokens": words, "total_tokens": heard + words}
