"""A scripted voice agent that fails on purpose, at a point of its script: for the fault runs.

It does no hearing and no speaking, so hundreds of conversations fit into a minute; the rehearsal server is for what a person would
notice. Each conversation has a plan, named in the path of the address.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from pipit.services.openai_presets import Preset

FAULTS = (
    *("none", "refused 401", "refused 503", "stall at upgrade", "stall at ready", "stall", "dropped", "slow"),
    *("close 1000", "close 1001", "close 1008", "close 1011", "close 4000"),
    *("malformed", "duplicate", "out of order", "unknown", "late sound"),
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
TURNS = 3
CHUNK = base64.b64encode(bytes(range(1, 97)) * 50).decode()
"""100 ms at 24 kHz, loud enough to be heard."""


@dataclass
class Plan:
    """What goes wrong in one conversation."""

    fault: str
    at: int
    """Before which event of the service."""
    always: bool
    """In every connection of the conversation, not only in the first."""
    connections: int = 0


class Faulty:
    """The server.

    Args:
        preset: which dialect; None for AssemblyAI.
        rng: decides what is strewn in.
    """

    def __init__(self, preset: Preset | None, rng: random.Random) -> None:
        self.plans: list[Plan] = []
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
        talk = _Talk(connection, plan if active else Plan("none", 0, False), self._preset, self._rng)
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(30):
                await talk.run()


class _Talk:
    """One connection."""

    def __init__(self, connection: ServerConnection, plan: Plan, preset: Preset | None, rng: random.Random) -> None:
        self._connection = connection
        self._plan = plan
        self._preset = preset
        self._rng = rng
        self._count = 0
        self._held: list[dict[str, Any]] = []
        self._pieces = 0

    async def run(self) -> None:
        if self._plan.fault == "stall at ready":
            await self._connection.wait_closed()
        if self._preset is None:
            await self._until("session.update", "session.resume")
            await self._say({"type": "session.ready", "session_id": "s_1"})
        else:
            await self._say({"type": "session.created", "session": {"id": "s_1"}})
            await self._until("session.update")
            await self._say({"type": "session.updated", "session": {"id": "s_1"}})
        for number in range(1, 1000):
            await self._turn(f"r{number}")

    async def _turn(self, name: str) -> None:
        asked = await self._until("response.create", "reply.create", sound=12)
        if asked is None:
            await self._say(
                {"type": "input_audio_buffer.speech_started" if self._preset else "input.speech.started", "item_id": "u"}
            )
            await self._until(sound=4)
            await self._say(
                {"type": "input_audio_buffer.speech_stopped" if self._preset else "input.speech.stopped", "item_id": "u"}
            )
            if self._preset is not None:
                if self._preset.commits:
                    await self._until("input_audio_buffer.commit")
                await self._say({"type": "input_audio_buffer.committed", "item_id": "u"})
                if self._preset.commits:
                    await self._until("response.create")
        await self._reply(name)

    async def _reply(self, name: str) -> None:
        if self._preset is None:
            await self._say({"type": "reply.started", "reply_id": name})
            for _ in range(4):
                await self._say({"type": "transcript.agent.delta", "reply_id": name, "delta": "word"})
                await self._say({"type": "reply.audio", "reply_id": name, "data": CHUNK})
            await self._say({"type": "reply.done", "reply_id": name, "status": "completed"})
            return
        place = {"response_id": name, "item_id": f"i_{name}", "content_index": 0}
        await self._say({"type": "response.created", "response": {"id": name}})
        for _ in range(4):
            await self._say({"type": "response.output_audio_transcript.delta", **place, "delta": " word"})
            await self._say({"type": "response.output_audio.delta", **place, "delta": CHUNK})
        await self._say({"type": "response.done", "response": {"id": name, "status": "completed"}})

    async def _until(self, *kinds: str, sound: int = 0) -> dict[str, Any] | None:
        """Read until a message of a kind, or so many pieces of sound, have come."""
        pieces = 0
        while True:
            data: dict[str, Any] = json.loads(await self._connection.recv())
            if data["type"] in kinds:
                return data
            if data["type"] == "session.end":
                await self._connection.close()
            if "audio" in data:
                pieces += 1
                if sound and pieces >= sound:
                    return None

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

    async def _misbehave(self, event: dict[str, Any]) -> None:
        fault = self._plan.fault
        match fault.split()[0]:
            case "stall":
                await self._connection.wait_closed()
            case "dropped":
                self._connection.transport.abort()
                await self._connection.wait_closed()
            case "close":
                await self._connection.close(int(fault.split()[1]), "as planned")
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
                return
            case "late" if event["type"].endswith(("response.done", "reply.done")):
                await self._send(event)
                name = event.get("reply_id") or event["response"]["id"]
                late = {"type": "reply.audio", "reply_id": name, "data": CHUNK}
                if self._preset is not None:
                    late = {"type": "response.output_audio.delta", "response_id": name, "item_id": "i", "delta": CHUNK}
                await self._send(late)
                return
        await self._send(event)
