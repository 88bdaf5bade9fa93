"""Plain HTTP on the same port as the WebSockets, whose library understands no other requests.

h11 (MIT, pure Python) reads and writes the messages, so that what Pipit's own client takes HTTP to be is judged by somebody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11

from pipit.rehearsal.misbehaviour import Misbehaviour

HEAD_BYTES = 65536
LARGEST_BODY_BYTES = 32 * 1024 * 1024

RUBBISH_EVERY = 7
"""Rubbish precedes the first event and then each seventh."""

_MALFORMED: tuple[Any, ...] = (
    None,
    [],
    42,
    {},
    {"choices": 7},
    {"choices": [None]},
    {"choices": [{"delta": "text"}]},
    {"choices": [{"delta": {"content": 5}}]},
    {"choices": [{"delta": {"tool_calls": [{"function": {"name": 1}}]}}]},
)
_REASONS = {402: b"Payment Required", 422: b"Unprocessable Entity"}


@dataclass(eq=False)
class Exchange:
    """One request and its answer; tests look into it. Times are seconds of the event loop's clock."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)
    connection: int
    """Number of the TCP connection it came on, from 1."""
    arrived_at: float
    protocol: str = ""
    """What was asked for: "asr", "tts", "completions" or "transcriptions"."""
    asked: dict[str, Any] = field(default_factory=dict, repr=False)
    """The request's fields, once they have been understood."""
    text: str = ""
    """What was heard, said or spoken."""
    status: int = 0
    """Of the answer; 0 before there is one."""
    sent_bytes: int = 0
    finished: bool = False
    """The answer was sent to its end; not if the client went before."""


class Visit:
    """A request that is to be answered: the exchange, and the methods that answer it."""

    def __init__(self, exchange: Exchange, faults: Misbehaviour, connection: Connection) -> None:
        self.exchange = exchange
        self.faults = faults
        self._connection = connection
        self._events = 0

    async def answer(self, status: int, body: bytes | Mapping[str, Any] | list[Any], kind: str = "application/json") -> None:
        """Send a whole answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        if status < 300:
            data = _spoilt(data, self.faults)
        await self.begin(status, kind, len(data))
        await self.send(data[: len(data) // 2])
        if status < 300:
            await self.mid_reply()
        await self.send(data[len(data) // 2 :])
        await self.end()

    async def begin(self, status: int, kind: str, length: int | None = None) -> None:
        """Send the head of an answer; without a length its body is chunked."""
        size = ("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))
        self.exchange.status = status
        headers = [("Content-Type", kind), size]
        await self._connection.send(h11.Response(status_code=status, reason=_REASONS.get(status, b""), headers=headers))
        if self.faults.stall_at_ready:
            await asyncio.Event().wait()

    async def send(self, piece: bytes) -> None:
        """Send more of the body."""
        if piece:
            await self._connection.send(h11.Data(data=piece))
            self.exchange.sent_bytes += len(piece)

    async def event(self, data: Mapping[str, Any]) -> None:
        """Send a server-sent event, with whatever is to be strewn between them."""
        turn, due = divmod(self._events, RUBBISH_EVERY)
        self._events += 1
        if due == 0:
            for line in _strewn(turn, self.faults):
                await self.send(line)
        for _ in range(2 if self.faults.duplicate_events else 1):
            await self.send(b"data: " + json.dumps(data).encode() + b"\n\n")

    async def end(self) -> None:
        """The body is complete."""
        await self._connection.send(h11.EndOfMessage())
        self.exchange.finished = True

    async def mid_reply(self) -> bool:
        """Call this in the middle of a reply: shows what is to happen there. True: the service is to say that it failed."""
        if self.faults.drop_mid_reply:
            self._connection.reset()
            raise ConnectionResetError
        if self.faults.stall_mid_reply:
            await asyncio.Event().wait()
        if self.faults.cut_mid_reply:
            self._connection.cut()
            raise ConnectionResetError
        return self.faults.error_mid_reply


Answering = Callable[[Visit], Awaitable[None]]


class Connection:
    """A TCP connection on which requests come, one after the other.

    Args:
        transport: the connection, from whoever read its first bytes.
        first: these bytes.
        number: of the connection, from 1.
        faults: what a request to a path suffers.
        answer: answers one request.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        first: bytes,
        number: int,
        faults: Callable[[str], Misbehaviour],
        answer: Answering,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(self._reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self._transport = transport
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        self._http.receive_data(first)
        self._number = number
        self._faults = faults
        self._answer = answer

    async def run(self) -> None:
        """Answer requests until one side closes the connection."""
        try:
            while (exchange := await self._request()) is not None:
                await self._while_here(self._answer(Visit(exchange, self._faults(exchange.path), self)))
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    break
                self._http.start_next_cycle()
        except (OSError, h11.RemoteProtocolError):
            pass  # the client has gone, or speaks no HTTP
        finally:
            self._transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def reset(self) -> None:
        """Drop the connection with a TCP reset: closing with zero linger discards what is queued (socket(7), SO_LINGER)."""
        linger = struct.pack("ii", 1, 0)
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._transport.abort()

    def cut(self) -> None:
        """Close the connection in good order, whatever was promised."""
        self._transport.close()

    async def send(self, event: Any) -> None:
        """Send a part of an answer."""
        if self._transport.is_closing():
            raise ConnectionResetError
        data = self._http.send(event)
        if data:
            self._writer.write(data)
        await self._writer.drain()

    async def _request(self) -> Exchange | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._reader.read(65536))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LARGEST_BODY_BYTES:
                    raise ConnectionAbortedError
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return self._exchange(head, bytes(body))
            else:
                return None

    def _exchange(self, head: h11.Request, body: bytes) -> Exchange:
        address = urlsplit(head.target.decode("latin-1"))
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
        now = asyncio.get_running_loop().time()
        return Exchange(head.method.decode(), address.path, parse_qs(address.query), headers, body, self._number, now)

    async def _while_here(self, answering: Awaitable[None]) -> None:
        """Answer, unless the client goes away meanwhile."""
        answer = asyncio.ensure_future(answering)
        gone = asyncio.ensure_future(self._until_gone())
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (answer, gone):
                if not task.done():
                    task.cancel()
            await asyncio.wait((answer, gone))
        if not answer.cancelled():
            answer.result()
        if not gone.cancelled():
            raise ConnectionResetError

    async def _until_gone(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                self._http.receive_data(data)


def _spoilt(body: bytes, faults: Misbehaviour) -> bytes:
    """Return what a service that misbehaves answers instead."""
    if faults.rubbish_text:
        return b"<html><body>502 Bad Gateway</body></html>"
    if faults.rubbish_binary:
        return b"\xff\xfe\x00" + bytes(range(256))
    if faults.malformed_json:
        return b'{"text": 7, "choices": {}}'
    if faults.huge_message_mb is not None:
        return b" " * (faults.huge_message_mb * 1_000_000) + body
    return body


def _strewn(turn: int, faults: Misbehaviour) -> list[bytes]:
    """Return lines between server-sent events that are none, or are strange ones."""
    lines = []
    if faults.rubbish_text:
        lines += [b"data: hello?\n\n", b"{\n\n", b"data: {\n\n"]
    if faults.rubbish_binary:
        lines += [b"\xff\xfe\x00\n", b"data: \xff\xfe\n\n"]
    if faults.malformed_json:
        lines += [b"data: " + json.dumps(_MALFORMED[turn % len(_MALFORMED)]).encode() + b"\n\n"]
    if faults.unknown_events:
        lines += [b'event: weather\ndata: {"degrees": -3}\n\n', b"retry: 7\nid: x\n\n", b": comment\n\n"]
    return lines


def wants_websocket(head: bytes) -> bool:
    """Say whether the head of a request asks for an upgrade."""
    first, *lines = head.split(b"\r\n")
    fields = {name.strip().lower(): value.strip().lower() for name, _, value in (line.partition(b":") for line in lines)}
    return first.startswith(b"GET ") and fields.get(b"upgrade") == b"websocket"
