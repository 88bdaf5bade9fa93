"""AssemblyAI Voice Agent, the service's side: https://www.assemblyai.com/docs/voice-agents."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
from collections import deque
from collections.abc import AsyncIterable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipit.offline.ear import BLIP_MS, Ear, Started, Stopped, Utterance
from pipit.rehearsal import skills, tools
from pipit.rehearsal.agent import Agent, Conduct, Left, Say, chunk_bytes, sound
from pipit.rehearsal.assemblyai_session import (
    CODES,
    client_events,
    closes,
    defaults,
    format_of,
    interruption_delay_s,
    is_held,
    tool_timeout_s,
    turn_detection,
    updated,
)
from pipit.rehearsal.formats import Format
from pipit.rehearsal.shapes import Refused
from pipit.rehearsal.wire import Wire

_FRAME_S = 0.01
_COMPANDED_FRAME_S = 0.0375
"""As recorded: 480 bytes of PCM at 24 kHz, 300 of mu-law."""
_RATE_ALLOWANCE_S = 3.0
"""Sound that may be ahead of real time before the rate limit counts."""


@dataclass(frozen=True)
class Lost:
    """A session whose connection ended without a goodbye."""

    config: Mapping[str, Any]
    at: float
    """When, in seconds of the event loop's clock."""


@dataclass(eq=False)
class _Reply:
    """One reply while it is being spoken."""

    id: str
    item_id: str
    is_greeting: bool = False
    words: list[tuple[str, float]] = field(default_factory=list)
    """Each word, and the second of the reply at which it ends."""
    sent_s: float = 0.0
    frame: bytes = b""
    """The latest piece of sound."""
    status: str = "completed"
    started: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def interrupted(self) -> bool:
        return self.status in ("interrupted", "cancelled")

    def text(self, until_s: float = float("inf")) -> str:
        return " ".join(word for word, end_s in self.words if end_s <= until_s)


@dataclass(frozen=True)
class _Planned:
    """A reply that waits for its turn."""

    said: skills.Reply
    id: str
    """Empty: it has none yet."""
    because_of: str
    """The reply that called the tool whose result it tells; empty: none did."""


class AssemblyAI:
    """One session.

    Args:
        wire: where events go.
        agent: who hears and answers.
        conduct: how the service behaves.
        lost: sessions that can be resumed, by id; shared by all sessions of a server.
        wall: the wall clock, seconds since 1970, for the time stamps.
        say: takes a line for the person who watches.
    """

    def __init__(
        self, wire: Wire, agent: Agent, conduct: Conduct, lost: dict[str, Lost], wall: Callable[[], float], say: Say
    ) -> None:
        self._wire = wire
        self._agent = agent
        self._conduct = conduct
        self._lost = lost
        self._session_id = ""
        self._wall = wall
        self._say = say
        self._ids = itertools.count(1)
        self._shape = client_events(conduct.rates_hz, reply_cancel=wire.faults.reply_cancel)
        self._config = defaults(conduct.rates_hz[0])
        self._ear: Ear | None = None
        self._reply: _Reply | None = None
        self._queue: deque[_Planned] = deque()
        self._called: dict[str, str] = {}
        """Tools that have not answered -> the reply that called them."""
        self._format = format_of(self._config, "input")
        self._replies = 0
        self._ready_at = 0.0
        self._received_s = 0.0
        self._complained_at = float("-inf")

    async def run(self, messages: AsyncIterable[str | bytes], *, authorised: bool) -> None:
        """Serve until the client's messages end."""
        if not authorised:
            # The real service accepts the upgrade and only then refuses the key.
            await self._error(Refused("value", "", "invalid or missing API key", "unauthorized"))
            await self._wire.close(1008, "unauthorized")
            return
        self._opened_at = asyncio.get_running_loop().time()
        self._wire.on_error = self._break_down
        try:
            async with asyncio.TaskGroup() as self._tasks:
                async for message in messages:
                    await self._receive(message)
                raise Left
        except* Left:
            pass
        if self._session_id:
            self._lost[self._session_id] = Lost(self._config, asyncio.get_running_loop().time())

    # -- what the client says ------------------------------------------------------------------------------------------------------

    async def _receive(self, message: str | bytes) -> None:
        kind = ""
        try:
            event = _parse(message)
            self._wire.record(event)
            kind = str(event.get("type"))
            self._shape(event, "")
            if self._ear is None and kind not in ("session.update", "session.resume", "session.end", "input.audio"):
                raise Refused("unknown", "type", f"{kind} before session.ready")
            await getattr(self, "_on_" + kind.replace(".", "_"))(event)
        except Refused as refusal:
            await self._error(refusal)
            if self._ear is None and kind == "session.update":
                await self._wire.close(1008, refusal.code or CODES[refusal.problem])

    async def _on_session_update(self, event: Mapping[str, Any]) -> None:
        first = self._ear is None
        self._config = updated(self._config, event["session"], first=first)
        if self._ear is not None:
            self._ear.detect(turn_detection(self._config))
            await self._send("session.updated", config=self._config)
        elif await self._wire.ready():
            await self._send("session.updated", config=self._config)
            await self._begin(self._id("s"))
            if greeting := self._config.get("greeting"):
                await self._begin_reply(skills.Reply("greeting", (greeting,)))

    async def _begin(self, session_id: str) -> None:
        self._session_id = session_id
        self._format = format_of(self._config, "input")
        self._ear = Ear(self._format.rate_hz, turn_detection(self._config))
        self._ready_at = asyncio.get_running_loop().time()
        limit_s = self._conduct.session_limit_s if self._wire.faults.expire_s is None else self._wire.faults.expire_s
        self._tasks.create_task(self._expire(limit_s))
        await self._send(
            "session.ready",
            session_id=session_id,
            expires_at=self._wall() + limit_s,
            resume_token=self._id("rt"),
            config=self._config,
        )

    async def _on_session_resume(self, event: Mapping[str, Any]) -> None:
        if self._ear is not None:
            raise Refused("value", "type", "session.resume must be the first message", "invalid_format")
        lost = self._lost.pop(event["session_id"], None)
        if lost is not None and asyncio.get_running_loop().time() - lost.at < self._conduct.resume_s:
            self._config = dict(lost.config)
            if await self._wire.ready():
                await self._begin(event["session_id"])
            return
        message = f"session {event['session_id']!r} does not exist or has ended"
        await self._error(Refused("value", "session_id", message, "session_not_found"))
        await self._wire.close(1008, "session_not_found")

    async def _on_session_end(self, event: Mapping[str, Any]) -> None:
        self._session_id = ""  # nothing to resume
        seconds = asyncio.get_running_loop().time() - self._opened_at
        await self._send("session.ended", session_duration_seconds=seconds, audio_duration_seconds=None)
        await self._wire.close(1000)

    async def _on_input_audio(self, event: Mapping[str, Any]) -> None:
        if self._ear is None:
            return  # dropped without a word, like the real service
        pcm = self._format.decode(event["audio"])
        if pcm is None:
            raise Refused("value", "audio", "audio is no base64 of a whole number of samples", "invalid_audio")
        if self._too_fast(self._format.seconds(pcm)):
            return await self._complain()
        self._wire.received(pcm)
        for change in self._ear.feed(np.frombuffer(pcm, "<i2")):
            if isinstance(change, Started):
                await self._speech_started()
            elif isinstance(change, Utterance):
                await self._turn_ended(change)
            else:
                assert isinstance(change, Stopped)  # told only when the words are known, see _turn_ended
        return None

    async def _on_tool_result(self, event: Mapping[str, Any]) -> None:
        await self._answered(event["call_id"], event["result"], is_error=event.get("is_error", False))

    async def _on_reply_cancel(self, event: Mapping[str, Any]) -> None:
        if self._reply is None or self._reply.id != event["reply_id"]:
            raise Refused("value", "reply_id", f"no reply {event['reply_id']!r} is being made")
        await self._interrupt("cancelled")

    async def _on_conversation_message(self, event: Mapping[str, Any]) -> None:
        self._say(f"{event['role']} message: {event['content']}")

    async def _on_reply_create(self, event: Mapping[str, Any]) -> None:
        instructions = event.get("instructions", "")
        reply = skills.obey(instructions) if instructions.strip() else self._answer("help")
        if self._reply is not None and self._reply.is_greeting:
            await self._interrupt()
        await self._begin_reply(reply)

    # -- turns ---------------------------------------------------------------------------------------------------------------------

    async def _speech_started(self) -> None:
        await self._wire.turn_begins()
        await self._send("input.speech.started")
        if self._interruptible:
            delay_s = interruption_delay_s(self._config)
            if delay_s == 0:
                await self._interrupt()
            else:
                self._tasks.create_task(self._interrupt_if_still_talking(delay_s))

    @property
    def _interruptible(self) -> bool:
        settings = self._config["input"]["turn_detection"]
        protected = self._reply is not None and self._reply.is_greeting and "greeting" in settings.get("uninterruptible_turns", ())
        return self._reply is not None and bool(settings["interrupt_response"]) and not protected

    async def _interrupt_if_still_talking(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self._ear is not None and self._ear.talking and self._ear.voiced_ms >= BLIP_MS and self._interruptible:
            await self._interrupt()

    async def _turn_ended(self, utterance: Utterance) -> None:
        text = await self._agent.understand(utterance)
        item_id = self._id("u")
        words = text.split()
        for count in range(1, len(words) + 1):
            await self._send("transcript.user.delta", item_id=item_id, text=" ".join(words[:count]))
        await self._send("input.speech.stopped")
        if utterance.blip:
            return
        self._say(f"heard {text!r}")
        if text:
            self._wire.session.heard.append(text)
            await self._send("transcript.user", item_id=item_id, text=text)
        if self._interruptible:
            await self._interrupt()
        await self._begin_reply(self._answer(text))

    # -- replies -------------------------------------------------------------------------------------------------------------------

    def _answer(self, request: str) -> skills.Reply:
        self._replies += 1
        reply = self._agent.decide(request, self._replies - 1, self._config["tools"], self._conduct.filler)
        if reply.call is not None and is_held(self._config, reply.call.name):
            return dataclasses.replace(reply, sentences=())
        return reply

    async def _begin_reply(self, reply: skills.Reply, reply_id: str = "", because_of: str = "") -> None:
        if self._reply is not None:
            self._queue.append(_Planned(reply, reply_id, because_of))
            return
        self._reply = _Reply(reply_id or self._id("r"), self._id("a"), is_greeting=reply.skill == "greeting")
        self._reply.task = self._tasks.create_task(self._make(self._reply, reply))
        await asyncio.sleep(0)  # a task that is cancelled before it has begun could not say so

    async def _make(self, reply: _Reply, said: skills.Reply) -> None:
        try:
            self._wire.session.said.append(" ".join(said.sentences))
            self._say(f"says {' '.join(said.sentences)!r}")
            await asyncio.sleep(self._conduct.think_s)
            reply.started = True
            await self._send("reply.started", reply_id=reply.id, item_id=reply.item_id)
            if self._wire.faults.failed_reply:
                await self._fail(reply)
            else:
                await self._speak(reply, said)
                if said.call is not None and not said.sentences:
                    await self._call(reply, said.call)
        except asyncio.CancelledError:
            if not reply.interrupted:
                raise  # the session ends
        await self._finish(reply)

    async def _speak(self, reply: _Reply, said: skills.Reply) -> None:
        output, written = self._config["output"], format_of(self._config, "output")
        rate_hz, companded = written.rate_hz, written.law != "pcm"
        frame_s = _COMPANDED_FRAME_S if companded else _FRAME_S
        sizes = chunk_bytes(frame_s, rate_hz, odd=self._wire.faults.odd_bytes and not companded)
        self._wire.reply_begins()
        began = asyncio.get_running_loop().time()
        for _ in range(round(self._conduct.lead_silence_s / frame_s) if said.sentences else 0):
            await self._send_frame(reply, bytes(2 * round(frame_s * rate_hz)), written, began)
        for sentence in said.sentences:
            # The words' times are told before their sound, so the sound must be there first; that takes some 20 ms a sentence.
            async with aclosing(sound(sentence, sizes, rate_hz, output["voice"], volume=output["volume"])) as pieces:
                frames = [frame async for frame in pieces]
            await self._send_words(reply, sentence, sum(map(len, frames)) / 2 / rate_hz)
            if said.call is not None and sentence is said.sentences[-1]:
                await self._call(reply, said.call)  # while the sentence is being spoken, so that it can be talked over
            for frame in frames:
                await self._send_frame(reply, frame, written, began)

    async def _send_words(self, reply: _Reply, sentence: str, length_s: float) -> None:
        """Tell the words of a sentence that begins now; the length of a word is taken to be that of its letters."""
        words = sentence.split()
        letters = [len(word) + 1 for word in words]
        begin_s = reply.sent_s
        for word, until in zip(words, itertools.accumulate(letters), strict=True):
            end_s = reply.sent_s + length_s * until / sum(letters)
            reply.words.append((word, end_s))
            await self._send(
                "transcript.agent.delta",
                reply_id=reply.id,
                item_id=reply.item_id,
                delta=word if len(reply.words) == 1 else " " + word,
                start_ms=round(begin_s * 1000),
                end_ms=round(end_s * 1000),
            )
            begin_s = end_s

    async def _send_frame(self, reply: _Reply, frame: bytes, written: Format, began: float) -> None:
        if not self._wire.faults.flood:
            await asyncio.sleep(began + reply.sent_s - asyncio.get_running_loop().time())
        reply.frame = frame
        seconds = written.seconds(frame)
        reply.sent_s += seconds
        await self._wire.send_sound(self._event("reply.audio", reply_id=reply.id, data=written.encode(frame)), seconds)

    async def _fail(self, reply: _Reply) -> None:
        reply.status = "failed"
        code = self._wire.faults.code
        fields = {"code": code, "message": f"the reply failed: {code}", "retryable": True}
        await self._send("reply.error", reply_id=reply.id, **fields)

    async def _interrupt(self, status: str = "interrupted") -> None:
        reply = self._reply
        if reply is None or reply.task is None or reply.interrupted:
            return
        reply.status = status
        reply.task.cancel()
        await asyncio.wait([reply.task])

    async def _finish(self, reply: _Reply) -> None:
        self._reply = None  # from here on it is too late to interrupt it
        if reply.started:
            await self._send(
                "transcript.agent",
                reply_id=reply.id,
                item_id=reply.item_id,
                text=reply.text(reply.sent_s) if reply.interrupted else reply.text(),
                interrupted=reply.interrupted,
            )
            await self._send("reply.done", reply_id=reply.id, status=reply.status)
        if reply.interrupted:
            # Nobody waits any more for what this reply's tools answer.
            self._called = {call: caller for call, caller in self._called.items() if caller != reply.id}
            self._queue = deque(planned for planned in self._queue if planned.because_of != reply.id)
        if reply.interrupted and reply.frame:
            late = format_of(self._config, "output").encode(reply.frame)
            for _ in range(self._wire.faults.late_chunks):
                await self._send("reply.audio", reply_id=reply.id, data=late)
        if self._queue:
            planned = self._queue.popleft()
            await self._begin_reply(planned.said, planned.id, planned.because_of)

    # -- tools ---------------------------------------------------------------------------------------------------------------------

    async def _call(self, reply: _Reply, call: skills.Call) -> None:
        faults, call_id = self._wire.faults, self._id("call")
        given: Any = dict(call.arguments)
        if faults.bad_arguments:
            given = json.dumps(given)[:-1]
        elif faults.text_arguments:
            given = json.dumps(given)
        name = "no_such_tool" if faults.unknown_tool else call.name
        self._called[call_id] = reply.id
        self._say(f"calls {name} with {given}")
        await self._send("tool.call", call_id=call_id, name=name, arguments=given)
        self._tasks.create_task(self._give_up(call_id, tool_timeout_s(self._config, call.name)))

    async def _answered(self, call_id: str, result: str, *, is_error: bool) -> None:
        self._say(f"tool result for {call_id}: {result}")
        caller = self._called.pop(call_id, None)
        if caller is not None:
            await self._begin_reply(tools.told([(result, is_error)]), f"fc-{call_id}", caller)

    async def _give_up(self, call_id: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._answered(call_id, "the tool has not answered", is_error=True)

    # -- events --------------------------------------------------------------------------------------------------------------------

    def _too_fast(self, seconds: float) -> bool:
        elapsed_s = asyncio.get_running_loop().time() - self._ready_at
        if self._received_s + seconds > _RATE_ALLOWANCE_S + self._conduct.audio_rate_limit * elapsed_s:
            return True
        self._received_s += seconds
        return False

    async def _complain(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._complained_at >= 1.0:
            self._complained_at = now
            message = "audio arrives faster than real time and is discarded"
            await self._error(Refused("value", "audio", message, "audio_rate_violation"))

    async def _error(self, refusal: Refused) -> None:
        code = refusal.code or CODES[refusal.problem]
        self._say(f"error {code}: {refusal.message}")
        param = {"param": refusal.path.removeprefix("session.")} if refusal.path else {}
        older = self._wire.faults.older_errors
        kind, code = ("error", code.upper()) if older else ("session.error", code)
        await self._send(kind, code=code, message=refusal.message, **param)

    async def _break_down(self) -> None:
        code = self._wire.faults.code
        await self._error(Refused("value", "", f"the session has failed: {code}", code))
        if (close := closes(code)) is not None:
            await self._wire.close(close, code)

    async def _expire(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._session_id = ""  # nothing to resume
        await self._error(Refused("value", "", f"the session has lasted {after_s:g} s, which is the longest", "session_expired"))
        await self._wire.close(1008, "session_expired")

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._wire.send(self._event(kind, **fields))

    def _event(self, kind: str, **fields: Any) -> dict[str, Any]:
        return {"type": kind, "timestamp": self._wall(), **fields}

    def _id(self, kind: str) -> str:
        return f"{kind}_{self._wire.session.number}_{next(self._ids):06}"


def _parse(message: str | bytes) -> dict[str, Any]:
    try:
        event = json.loads(message) if isinstance(message, str) else None
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise Refused("type", "", "the message is not a JSON object in a text frame")
    return event
