"""One client's connection: what was said on it in either direction, and the faults that the service shows on it."""

from __future__ import annotations

import asyncio
import copy
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from pipit.rehearsal.misbehaviour import MID_REPLY_S, Misbehaviour

RUBBISH_EVERY = 7
"""Rubbish precedes the first event and then each seventh."""
OVERTAKEN_EVERY = 3
OVERTAKEN_S = 0.05
"""An event that is to be overtaken waits so long for the one that overtakes it."""

_TEXTS = ("", "hello?", "{", '{"type": "session', "\ufffd\x00", "<html><body>502 Bad Gateway</body></html>")
_BINARIES = (b"", b"\x00", b"\xff\xfe\xfd", b'{"type":"error"}', bytes(range(256)))
_UNKNOWN = (
    {"type": "weather.changed", "event_id": "event_x", "degrees": -3},
    {"type": "response.", "x": {"y": []}},
    {"type": ""},
    {"event": "log", "message": "hello"},
)
_MALFORMED: tuple[Any, ...] = (
    None,
    [],
    42,
    {},
    {"type": 7},
    {"type": None, "event_id": 1},
    {"type": "response.output_audio.delta"},
    {"type": "response.output_audio.delta", "response_id": 1, "item_id": [], "delta": "not base64!"},
    {"type": "response.done", "response": "done"},
    {"type": "error"},
    {"type": "reply.audio", "reply_id": {}, "data": 5},
    {"type": "reply.done"},
    {"type": "transcript.user", "text": ["hello"]},
    {"event": 7},
    {"event": "audio"},
    {"event": "audio", "audio": "not bytes"},
    {"event": "finish", "reason": {"x": 1}},
)


@dataclass(eq=False)
class Session:
    """What happened on one connection; tests look into it. Times are seconds of the event loop's clock."""

    protocol: str
    """"openai", "assemblyai", "fish" or another name in `server.PATHS`."""
    number: int
    """Of the connection, from 1; part of all ids, so that no two sessions use the same."""
    opened_at: float
    record: bool = True
    """Keep sound and messages: not in a server that runs for days."""
    received: bytearray = field(default_factory=bytearray)
    """All sound that the client sent and the service accepted: PCM16 at the session's rate."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    """All messages of the client that were JSON objects, or msgpack maps."""
    arrivals: list[float] = field(default_factory=list)
    """When each of `messages` arrived."""
    events: list[dict[str, Any]] = field(default_factory=list)
    """All events sent, rubbish apart."""
    heard: list[str] = field(default_factory=list)
    """What the person said in each turn, as far as it was understood."""
    said: list[str] = field(default_factory=list)
    """What the agent answered, whole, even if it was interrupted."""
    closed: tuple[int, str] | None = None
    """Code and reason with which the socket was closed, by whomever; 1006 without a closing handshake."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one type that were sent so far."""
        return [event for event in self.events if kind in (event.get("type"), event.get("event"))]


class Wire:
    """Sends events. After the socket is gone it sends nothing and says nothing of it: the reading side notices."""

    def __init__(
        self,
        connection: ServerConnection,
        session: Session,
        faults: Misbehaviour,
        encode: Callable[[Any], str | bytes] = json.dumps,
    ) -> None:
        self._encode = encode
        self.session = session
        self.faults = faults
        self._connection = connection
        self._stalled = False
        self._sent = 0
        self._reply_s = 0.0
        self._places = 0
        self._overtaken: Mapping[str, Any] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self.on_error: Callable[[], Awaitable[None]] | None = None
        """How the service says that it has failed, where it can."""

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send one event."""
        if event.get("type") in self.faults.omitted:
            return
        if self.faults.event_delay_s:
            await asyncio.sleep(self.faults.event_delay_s)
        self._places += 1
        if self.faults.out_of_order and self._overtaken is None and self._places % OVERTAKEN_EVERY == 0:
            self._overtaken = event
            self._waiting = asyncio.create_task(self._send_overtaken(OVERTAKEN_S))
            return
        await self._send(event)
        if self._overtaken is not None:
            await self._send_overtaken()

    async def _send_overtaken(self, after_s: float = 0.0) -> None:
        """Send the event that another has overtaken, or that none has."""
        if after_s:
            await asyncio.sleep(after_s)
        event, self._overtaken = self._overtaken, None
        if event is not None:
            await self._send(event)

    async def _send(self, event: Mapping[str, Any]) -> None:
        await self._strew()
        message = self._encode(event)
        for _ in range(2 if self.faults.duplicate_events else 1):
            if self.session.record and not self._stalled:
                self.session.events.append(copy.deepcopy(dict(event)))
            await self._raw(message)

    @property
    def stalled(self) -> bool:
        """Whether the service has fallen silent for ever."""
        return self._stalled

    def record(self, message: dict[str, Any]) -> None:
        """Note a message of the client."""
        if self.session.record:
            self.session.messages.append(message)
            self.session.arrivals.append(asyncio.get_running_loop().time())

    def received(self, pcm: bytes) -> None:
        """Note sound that was accepted."""
        if self.session.record:
            self.session.received += pcm

    async def ready(self) -> bool:
        """Call this before the service says that it is ready; False if it shall not."""
        if self.faults.error_at_ready and self.on_error is not None:
            await self.on_error()
            return False
        if self.faults.stall_at_ready:
            self._stalled = True
        if self.faults.close_at_ready is not None:
            await self.close(self.faults.close_at_ready, "misbehaving")
        if self.faults.huge_message_mb is not None:
            await self._raw("x" * (self.faults.huge_message_mb * 1_000_000))
        return self.faults.close_at_ready is None

    def reply_begins(self) -> None:
        """Call this before a reply's first sound."""
        self._reply_s = 0.0

    async def send_sound(self, event: Mapping[str, Any], seconds: float) -> None:
        """Send an event that carries so many seconds of a reply."""
        await self.send(event)
        before, self._reply_s = self._reply_s, self._reply_s + seconds
        if before < MID_REPLY_S <= self._reply_s:
            await self._mid_reply()

    async def turn_begins(self) -> None:
        """Call this when the person has begun to speak, before it is said."""
        if self.faults.stall_mid_turn:
            self._stalled = True
        if self.faults.drop_mid_turn:
            self._reset()
        if self.faults.close_mid_turn is not None and not self._stalled:
            self._stalled = True
            # Whoever waits for the end of the closing handshake must not be the one who reads what the client still sends.
            self._leaving = asyncio.create_task(self.close(self.faults.close_mid_turn, "misbehaving"))

    async def close(self, code: int, reason: str = "") -> None:
        """Close the socket."""
        await self._send_overtaken()
        await self._connection.close(code, reason)

    async def finish(self) -> None:
        """The connection is over: leave nothing behind."""
        for task in (self._waiting, self._leaving):
            if task is not None:
                await task

    async def _mid_reply(self) -> None:
        if self.faults.error_mid_reply and self.on_error is not None:
            await self.on_error()
        if self.faults.cut_mid_reply:
            self._connection.transport.close()
        if self.faults.stall_mid_reply:
            self._stalled = True
        if self.faults.drop_mid_reply:
            self._reset()
        if self.faults.close_mid_reply is not None:
            await self.close(self.faults.close_mid_reply, "misbehaving")

    def _reset(self) -> None:
        """Drop the connection with a TCP reset: closing with zero linger discards what is queued (socket(7), SO_LINGER)."""
        transport = self._connection.transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    async def _strew(self) -> None:
        turn, due = divmod(self._sent, RUBBISH_EVERY)
        self._sent += 1
        if due != 0:
            return
        if self.faults.rubbish_text:
            await self._raw(_TEXTS[turn % len(_TEXTS)])
        if self.faults.rubbish_binary:
            await self._raw(_BINARIES[turn % len(_BINARIES)])
        if self.faults.unknown_events:
            await self._raw(self._encode(_UNKNOWN[turn % len(_UNKNOWN)]))
        if self.faults.malformed_json:
            await self._raw(self._encode(_MALFORMED[turn % len(_MALFORMED)]))

    async def _raw(self, message: str | bytes) -> None:
        if self._stalled:
            return
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            # Let the reading side see it first; a reply in full flow would otherwise run through all its text in vain.
            await asyncio.sleep(0)
