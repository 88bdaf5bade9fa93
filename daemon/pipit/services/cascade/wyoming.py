"""The Wyoming protocol of Home Assistant's speech servers: whisper, Vosk, sherpa-onnx and Piper behind a TCP port of your own.

An event is a line of JSON, and after it the further data and the payload whose lengths the line tells. One connection for each
request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pipit import dial
from pipit.services.cascade import StageError
from pipit.services.cascade.refusals import problems as address_problems
from pipit.services.wire import Malformed, mapping, parse, sentence, text, whole

LINE_BYTES = 65536
LARGEST_BYTES = 4 << 20
"""Of data or payload in one event."""


def problems(url: str | None, path: str, example: str, *, insecure: bool) -> list[str]:
    """Return what is wrong with the address of a server.

    Args:
        url: tcp://HOST:PORT.
        path: the option, for messages.
        example: a usual address.
        insecure: whether another host may be talked to without encryption; the protocol has none.
    """
    if url is None:
        return [f"{path}: Wyoming servers have no address of their own; for example {example}"]
    wrong = address_problems(url, path, ("tcp",), insecure=insecure)
    return wrong or ([] if urlsplit(url).port else [f"{path}: the port is missing; for example {example}"])


class Wyoming:
    """One connection to a server.

    Args:
        reader: of the connection.
        writer: of the connection.
        host: for messages.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    def send(self, kind: str, data: Mapping[str, Any] | None = None, payload: bytes = b"") -> None:
        """Send an event; the kernel takes it when it can."""
        event: dict[str, Any] = {"type": kind, "data": dict(data or {})}
        if payload:
            event["payload_length"] = len(payload)
        self._writer.write(json.dumps(event, ensure_ascii=False).encode() + b"\n" + payload)

    async def drain(self) -> None:
        """Wait until what was sent is on its way.

        Raises:
            StageError: the connection is lost.
        """
        try:
            await self._writer.drain()
        except OSError as error:
            raise StageError("retryable", f"the connection to {self._host} was lost") from error

    async def receive(self) -> tuple[str, dict[str, Any], bytes]:
        """Return the next event: its type, its data, its payload.

        Raises:
            StageError: the connection is lost, or what came is no event, or the server says that it failed.
        """
        try:
            head = parse(await self._reader.readuntil(b"\n"))
            more = await self._block(whole(head, "data_length", 0))
            data = {**mapping(head, "data", optional=True), **(parse(more) if more else {})}
            payload = await self._block(whole(head, "payload_length", 0))
            kind = text(head, "type")
            failed = text(data, "text", "") if kind == "error" else None
        except (asyncio.IncompleteReadError, OSError) as error:
            raise StageError("retryable", f"{self._host} closed the connection") from error
        except (asyncio.LimitOverrunError, Malformed) as error:
            raise StageError("retryable", f"{self._host} sent something that is no Wyoming event") from error
        if failed is not None:
            raise StageError("retryable", f"{self._host} failed ({sentence(failed)})")
        return kind, data, payload

    async def _block(self, size: int) -> bytes:
        if not 0 <= size <= LARGEST_BYTES:
            raise Malformed
        return await self._reader.readexactly(size)


@contextlib.asynccontextmanager
async def connected(url: str, timeout_s: float) -> AsyncIterator[Wyoming]:
    """Connect to a server; leaving the block closes the connection.

    Args:
        url: tcp://HOST:PORT.
        timeout_s: longest time until it has taken the connection.

    Raises:
        StageError: it cannot be reached.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        async with asyncio.timeout(timeout_s):
            plain = await dial.race(await dial.resolve(host, parts.port or 0), timeout_s)
        reader, writer = await asyncio.open_connection(sock=plain, limit=LINE_BYTES)
    except TimeoutError as error:
        raise StageError("retryable", f"{host} took no connection within {timeout_s:g} s") from error
    except OSError as error:
        raise StageError("retryable", f"{host} cannot be reached ({error.strerror or type(error).__name__})") from error
    try:
        yield Wyoming(reader, writer, host)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def reach(url: str, timeout_s: float) -> None:
    """Make sure that a server takes connections.

    Raises:
        StageError: it does not.
    """
    async with connected(url, timeout_s):
        pass
