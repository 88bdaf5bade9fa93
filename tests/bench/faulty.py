"""A scripted voice agent that fails on purpose, at a point of its script, and that keeps accounts: for the fault runs.

It does no hearing and no speaking, so hundreds of conversations fit into a minute; the rehearsal server is for what a person would
notice. Each conversation has a plan, named in the path of the address. Whatever goes wrong, or nothing, the agent greets where it
is told to, calls tools, is talked over, and ends sessions that are too old; and it notes what a client must not do (`Plan.wrong`):

- a turn that was answered is heard again, or one that was not answered is not heard by the next session;
- a tool is answered twice, never, or while a reply is being made (AssemblyAI);
- more of a reply is said to have been heard than there was;
- a second greeting; a session without tools; a session taken up again that was ended;
- AssemblyAI's session is left without `session.end`, which costs half a minute; a session lives beyond its time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pipit.services.openai_presets import Preset

HARMLESS = ("none", "slow", "malformed", "duplicate", "unknown", "late sound", "failed reply")
"""With these every conversation goes on."""

FAULTS = (
    *HARMLESS,
    *("refused 401", "refused 503", "stall at upgrade", "stall at ready", "stall", "mute", "dropped", "out of order"),
    *("close 1000", "close 1001", "close 1008", "close 1011", "close 4000", "error"),
)
BETA = {
    "response.output_audio.delta": "response.audio.delta",
    "response.output_audio_transcript.delta": "response.audio_transcript.delta",
}
RUBBISH: tuple[str | bytes, ...] = (
    *(
        "",
        "{",
        "[]",
        "null",
        '"x"',
        b"\xff\xfe",
        '{"type": 5}',
        '{"type": "response.done"}',
        '{"type": "response.done", "response": []}',
    ),
    *('{"type": "response.output_audio.delta", "delta": "%%%"}', '{"type": "session.updated", "session": 7}', '{"type": "error"}'),
    *('{"type": "reply.audio", "reply_id": 3}', '{"type": "session.ready", "session_id": {}}', "[" * 5000),
)
GREETING = "Hello there."
LOOK_BACK = 5
"""Pieces of sound before a turn that a new session hears of it; the driver has the daemon's own second shortened to it."""

SLACK = 3
"""Pieces by which the two sides may differ about when something was."""

CHUNK_MS = 100
CHUNK = base64.b64encode(bytes(range(1, 97)) * 50).decode()
"""100 ms at 24 kHz, loud enough to be heard."""

RESULT_S = 6.0
"""So long a tool's result may take."""

GRACE_S = 4.0
"""So long after its time a session may go on: a turn is not cut off."""

SPEECH = 4
"""Pieces of sound that a person's turn lasts."""

PAUSE, LONG_PAUSE = 12, 80
"""Pieces of sound before the person speaks; the longer pause when the session is old, so that there is time to replace it."""


@dataclass
class Plan:
    """One conversation: what goes wrong in it, and what both sides know of it."""

    fault: str
    at: int
    """Before which event of the service."""
    always: bool
    """In every connection of the conversation, not only in the first."""
    greets: bool = False
    life_s: float | None = None
    """How long a session lives."""
    durable: bool = True
    """With what outlives sockets, or the shell alone."""
    connections: int = 0
    sent: int = 0
    """The number of the latest piece of sound that the person's side has made; it is the value of its samples."""
    turn_from: int | None = None
    """With which piece a turn began that has not been answered."""
    answered_to: int = 0
    """With which piece the latest turn ended that was answered."""
    replied: bool = False
    """The person has heard a reply to its end."""
    stopped: set[str] = field(default_factory=set)
    """Replies that the person has stopped."""
    ended: set[str] = field(default_factory=set)
    """Sessions that the client has ended."""
    called: set[str] = field(default_factory=set)
    """Calls of tools."""
    results: Counter[str] = field(default_factory=Counter)
    """How often each was answered."""
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = [
            word
            for word, on in (("greets", self.greets), (f"lives {self.life_s} s", self.life_s), ("bare", not self.durable))
            if on
        ]
        return ", ".join([f"{self.fault} at {self.at}{' always' if self.always else ''}", *more])


class Faulty:
    """The server.

    Args:
        preset: which dialect; None for AssemblyAI.
        rng: decides what is strewn in.
    """

    def __init__(self, preset: Preset | None, rng: random.Random) -> None:
        self.plans: list[Plan] = []
        self.did: Counter[str] = Counter()
        """What the agent has done, so that it can be seen that it did."""
        self._preset = preset
        self._rng = rng
        self.url = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen."""
        options = {"compression": None, "close_timeout": 0.1, "process_request": self._admit, "backlog": 500}
        async with serve(self._serve, "127.0.0.1", 0, **options) as server:
            self.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            yield

    def _plan(self, request: Request) -> Plan:
        return self.plans[int(request.path.partition("?")[0].strip("/"))]

    async def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        plan = self._plan(request)
        plan.connections += 1
        active = plan.always or plan.connections == 1
        if active and plan.fault.startswith("refused"):
            return connection.respond(HTTPStatus(int(plan.fault.split()[1])), "no")
        if active and plan.fault == "stall at upgrade":
            await asyncio.sleep(3)
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        plan = self._plan(connection.request)
        active = plan.always or plan.connections == 1
        talk = _Talk(connection, plan, plan.fault if active else "none", self._preset, self._rng, self.did)
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(30):
                await talk.run()


class _Gone(Exception):
    """The client has closed the connection, or ended the session."""


class _Talk:
    """One connection."""

    def __init__(
        self, connection: ServerConnection, plan: Plan, fault: str, preset: Preset | None, rng: random.Random, did: Counter[str]
    ) -> None:
        self._connection = connection
        self._plan = plan
        self._fault = fault
        self._preset = preset
        self._rng = rng
        self._did = did
        self._number = plan.connections
        self._name = f"s_{self._number}"
        self._began = asyncio.get_running_loop().time()
        self._count = 0
        self._replies = 0
        self._pauses = 0
        """Long ones, in which the session could have been replaced."""
        self._held: list[dict[str, Any]] = []
        self._inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._reader: asyncio.Task[None] | None = None
        self._active = ""
        self._cancelled: set[str] = set()
        self._audio_ms: Counter[str] = Counter()
        self._heard = 0
        self._resumed = self._ready = self._ended = self._stalled = self._talking = False

    async def run(self) -> None:
        self._reader = asyncio.create_task(self._read())
        try:
            with contextlib.suppress(_Gone):
                async with self._until_too_old():
                    await self._begin()
                    while True:
                        await self._turn()
            if self._ended:
                if self._preset is None:
                    await self._send({"type": "session.ended"})
                await self._connection.close()
        finally:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._account()

    @contextlib.asynccontextmanager
    async def _until_too_old(self) -> AsyncIterator[None]:
        limit_s = None if self._plan.life_s is None else self._plan.life_s + GRACE_S
        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError:
            if self._plan.fault == "none" and self._pauses >= 2:
                self._plan.wrong.append("a session was not replaced in time")
            await self._connection.close(1001, "too old")

    def _account(self) -> None:
        protocol = self._connection.protocol
        orderly = protocol.close_rcvd is not None and protocol.close_rcvd_then_sent
        if self._preset is None and self._ready and orderly and not self._ended and not self._stalled:
            self._plan.wrong.append("a session was left without session.end")

    # -- what the client says ------------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            async for frame in self._connection:
                await self._got(json.loads(frame))
        except ConnectionClosed:
            pass
        finally:
            self._inbox.put_nowait(None)

    async def _got(self, data: dict[str, Any]) -> None:
        plan, kind = self._plan, data["type"]
        match kind:
            case "input_audio_buffer.append" | "input.audio":
                self._sound(data["audio"])
            case "session.update":
                if not data["session"].get("tools"):
                    plan.wrong.append("a session without tools")
                if "greeting" in data["session"]:
                    self._greeting()
            case "session.end":
                self._ended = True
                plan.ended.add(self._name)
            case "response.create":
                if GREETING in data.get("response", {}).get("instructions", ""):
                    self._greeting()
                if self._active:
                    code = "conversation_already_has_active_response"
                    await self._send({"type": "error", "error": {"code": code, "message": "busy", "event_id": data["event_id"]}})
                    return
            case "response.cancel" | "reply.cancel":
                self._cancelled.add(data.get("response_id") or data.get("reply_id") or self._active)
            case "conversation.item.create" if data["item"]["type"] == "function_call_output":
                plan.results[data["item"]["call_id"]] += 1
            case "conversation.item.create" if data["item"]["type"] == "force_message":
                self._greeting()
                data = {"type": "response.create"}
            case "tool.result":
                plan.results[data["call_id"]] += 1
                if self._active and self._active not in self._cancelled:
                    plan.wrong.append("the result of a tool while a reply was made")
            case "conversation.item.truncate":
                if data["audio_end_ms"] > self._audio_ms[data["item_id"]]:
                    plan.wrong.append(f"{data['audio_end_ms']} ms heard of {self._audio_ms[data['item_id']]} ms")
        self._inbox.put_nowait(data)

    def _greeting(self) -> None:
        self._did["greeting"] += 1
        if self._plan.replied:
            self._plan.wrong.append("a second greeting")

    def _sound(self, audio: str) -> None:
        """Compare where this session begins to hear with what was said and answered before."""
        number = int.from_bytes(base64.b64decode(audio[:4])[:2], "little")
        if not number or self._heard:
            self._heard = number or self._heard
            return
        self._heard, plan = number, self._plan
        if self._number == 1:
            return
        self._did["next session"] += 1
        if number + LOOK_BACK + SLACK < plan.answered_to:
            plan.wrong.append(f"heard again from {number} what was answered up to {plan.answered_to}")
        if plan.turn_from is not None and not self._resumed and number > plan.turn_from + SLACK:
            plan.wrong.append(f"heard from {number} a turn that began at {plan.turn_from}")

    async def _next(self) -> dict[str, Any]:
        data = await self._inbox.get()
        if data is None or self._ended:
            raise _Gone
        return data

    async def _until(self, *kinds: str, pieces: int = 0) -> str:
        """Wait for a message of a kind, or for so many pieces of sound; serve what is asked for meanwhile. Return what came."""
        while True:
            data = await self._next()
            kind = data["type"]
            if kind in kinds:
                return str(kind)
            if "audio" in data:
                pieces -= 1
                if pieces == 0:
                    return ""
            elif kind in ("response.create", "reply.create"):
                await self._reply()

    # -- what the agent does -------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        if self._fault == "stall at ready":
            await self._stall()
        if self._preset is not None:
            await self._say({"type": "session.created", "session": {"id": self._name}})
            await self._until("session.update")
            await self._say({"type": "session.updated", "session": {"id": self._name}})
            return
        asked = await self._next()
        if asked["type"] == "session.resume":
            await self._resume(asked["session_id"])
        ready: dict[str, Any] = {"type": "session.ready", "session_id": self._name}
        if self._plan.life_s is not None:  # half a minute's notice is the least that the client takes
            ready |= {"timestamp": 1000.0, "expires_at": 1000.0 + 30.0 + self._plan.life_s * 0.8}
        self._ready = True
        await self._say(ready)
        if "greeting" in asked.get("session", {}):
            await self._reply()

    async def _resume(self, name: str) -> None:
        if name in self._plan.ended:
            self._plan.wrong.append("a session that was ended is taken up again")
        if self._rng.random() < 0.3:
            self._did["resume refused"] += 1
            await self._send({"type": "session.error", "code": "session_not_found", "message": "no"})
            await self._connection.close(1008, "no")
            raise _Gone
        self._did["resume"] += 1
        self._name, self._resumed = name, True

    async def _turn(self) -> None:
        old = self._plan.life_s is not None and asyncio.get_running_loop().time() - self._began > 0.8 * self._plan.life_s
        if not await self._until("response.create", "reply.create", pieces=LONG_PAUSE if old else PAUSE):
            self._pauses += old
            await self._person()
        await self._reply()

    async def _person(self, *, begun: bool = False) -> None:
        """Hear a turn of the person."""
        ours, self._talking = self._preset is None, True
        if not begun:
            await self._say({"type": "input.speech.started" if ours else "input_audio_buffer.speech_started", "item_id": "u"})
        await self._until(pieces=SPEECH)
        self._talking = False
        await self._say({"type": "input.speech.stopped" if ours else "input_audio_buffer.speech_stopped", "item_id": "u"})
        if self._preset is None:
            return
        if self._preset.commits:
            await self._until("input_audio_buffer.commit")
            await self._say({"type": "input_audio_buffer.committed", "item_id": "u"})
            await self._until("response.create")
        else:
            self._active = "soon"
            await self._say({"type": "input_audio_buffer.committed", "item_id": "u"})

    async def _reply(self, *, to_result: bool = False) -> None:
        self._replies += 1
        name = self._active = f"{self._name}_r{self._number}_{self._replies}"
        await self._say(self._event("response.created", "reply.started", name, response={"id": name}))
        cut_in = self._rng.random() < 0.2
        for _ in range(2 if cut_in else 4):
            await self._word(name)
            await asyncio.sleep(0.01)
            if name in self._cancelled:
                break
        cancelled = name in self._cancelled
        if cut_in and not cancelled:
            await self._interrupted(name)
            return
        call = f"c_{name}" if not (to_result or cancelled) and self._rng.random() < 0.25 else ""
        if call:
            self._did["tool"] += 1
            self._plan.called.add(call)
            item = {"type": "function_call", "call_id": call, "name": "look", "arguments": "{}"}
            if self._preset is None:
                await self._say({"type": "tool.call", "call_id": call, "name": "look", "arguments": {}})
            else:
                await self._say({"type": "response.output_item.done", "response_id": name, "item": item})
        await self._done(name, "cancelled" if cancelled else "completed")
        if call and not self._talking:  # otherwise what the person says now is answered, with the result
            await self._result(name, call)

    async def _word(self, name: str) -> None:
        place = {"item_id": f"i_{name}", "content_index": 0}
        self._audio_ms[f"i_{name}"] += CHUNK_MS
        kind = "response.output_audio_transcript.delta"
        await self._say(self._event(kind, "transcript.agent.delta", name, response_id=name, delta=" word", **place))
        await self._say(self._audio(name))

    def _audio(self, name: str) -> dict[str, Any]:
        place = {"response_id": name, "item_id": f"i_{name}", "content_index": 0}
        if self._preset is None:
            return {"type": "reply.audio", "reply_id": name, "data": CHUNK}
        return {"type": "response.output_audio.delta", **place, "delta": CHUNK}

    async def _interrupted(self, name: str) -> None:
        """The person talks over the reply; some of its sound is on the way still."""
        self._did["interruption"] += 1
        if self._preset is None:
            await self._say({"type": "input.speech.started"})
            await self._say({"type": "transcript.agent", "reply_id": name, "text": "word word", "interrupted": True})
            await self._say(self._audio(name))
        else:
            await self._say({"type": "input_audio_buffer.speech_started", "item_id": "u"})
            await self._say(self._audio(name))
            if self._preset.cancels:
                await self._cancel(name)
        await self._done(name, "interrupted")
        await self._person(begun=True)
        await self._reply()

    async def _cancel(self, name: str) -> None:
        """Wait until the client has cancelled the reply, which this service leaves to it."""
        try:
            async with asyncio.timeout(RESULT_S):
                while name not in self._cancelled:
                    await self._next()
        except TimeoutError:
            self._plan.wrong.append("a reply that was talked over was not cancelled")

    async def _result(self, name: str, call: str) -> None:
        """Wait for the result of a tool, and speak about it."""
        wanted = "tool.result" if self._preset is None else "response.create"
        loop = asyncio.get_running_loop()
        due = loop.time() + RESULT_S
        while True:
            try:
                async with asyncio.timeout_at(due):
                    kind = (await self._next())["type"]
            except TimeoutError:
                if self._plan.fault != "out of order":
                    self._plan.wrong.append("a tool was not answered")
                return
            if name in self._plan.stopped or name in self._cancelled:
                return  # nobody wants to know any more
            if kind == wanted and self._plan.results[call]:
                break
            if kind in ("response.create", "reply.create"):
                await self._reply()
                due = loop.time() + RESULT_S
        await self._reply(to_result=True)

    async def _done(self, name: str, status: str) -> None:
        if self._fault == "failed reply" and self._count > self._plan.at:
            self._fault, status = "none", "failed"
        self._active = ""
        if self._preset is None:
            await self._say({"type": "reply.done", "reply_id": name, "status": status})
        else:
            response: dict[str, Any] = {"id": name, "status": status}
            if status == "interrupted":
                reason = "client_cancelled" if self._preset.cancels else "turn_detected"
                response |= {"status": "cancelled", "status_details": {"type": "cancelled", "reason": reason}}
            await self._say({"type": "response.done", "response": response})

    def _event(self, kind: str, assemblyai: str, name: str, **fields: Any) -> dict[str, Any]:
        if self._preset is not None:
            return {"type": kind, **fields}
        return {"type": assemblyai, "reply_id": name, **({"delta": fields["delta"]} if "delta" in fields else {})}

    # -- faults --------------------------------------------------------------------------------------------------------------------

    async def _say(self, event: dict[str, Any]) -> None:
        self._count += 1
        if self._count > self._plan.at:
            await self._misbehave(event)
        else:
            await self._send(event)

    async def _send(self, event: dict[str, Any]) -> None:
        if self._preset is not None and self._preset.dialect == "beta":
            event = {**event, "type": BETA.get(event["type"], event["type"])}
        await self._connection.send(json.dumps(event))

    async def _stall(self) -> None:
        """Read nothing and say nothing."""
        self._stalled = True
        assert self._reader is not None
        self._reader.cancel()
        await self._connection.wait_closed()
        raise _Gone

    async def _misbehave(self, event: dict[str, Any]) -> None:
        fault = self._fault
        match fault.split()[0]:
            case "stall" if fault == "stall":
                await self._stall()
            case "mute":
                while True:
                    await self._next()
            case "dropped":
                self._connection.transport.abort()
                await self._connection.wait_closed()
                raise _Gone
            case "close":
                await self._connection.close(int(fault.split()[1]), "as planned")
                raise _Gone
            case "error":
                error = {"code": "server_error" if self._preset is None else "session_expired", "message": "as planned"}
                await self._send({"type": "session.error", **error} if self._preset is None else {"type": "error", "error": error})
                await self._until("nothing")
            case "slow":
                await asyncio.sleep(0.05)
            case "malformed":
                await self._connection.send(self._rng.choice(RUBBISH))
            case "unknown":
                await self._connection.send('{"type": "weather.changed", "to": {"sun": [1]}}')
            case "duplicate":
                await self._send(event)
            case "out":
                self._held.append(event)
                if len(self._held) == 4:
                    self._rng.shuffle(self._held)
                    for held in self._held:
                        await self._send(held)
                    self._held.clear()
                    self._fault = "none"
                return
            case "late" if event["type"].endswith(("response.done", "reply.done")):
                await self._send(event)
                await self._send(self._audio(event.get("reply_id") or event["response"]["id"]))
                return
        await self._send(event)
