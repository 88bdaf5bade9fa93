"""Connections to servers of the Model Context Protocol. Loads the package `mcp`, which takes a second or more."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from pipit.fetch import trusted

ANSWERS_BYTES = 1 << 20
"""So much may a server send in one connection. Lists of tools have some ten thousand bytes, and of a result 16384 characters are
handed on."""


class TooLong(Exception):
    """The server sends more than is taken."""

    def __init__(self) -> None:
        super().__init__(f"it sends more than {ANSWERS_BYTES} bytes")


@contextlib.asynccontextmanager
async def connected(url: str, headers: Mapping[str, str]) -> AsyncIterator[Client]:
    """Connect. What goes wrong is one of many kinds of exceptions, often in groups; the caller limits the time.

    Raises:
        TooLong: see there; in place of whatever that led to.
    """
    transport = _Limited()
    plain = {"Accept-Encoding": "identity", **headers}
    try:
        async with (
            httpx2.AsyncClient(headers=plain, timeout=None, transport=transport) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            yield client
    except Exception as error:
        if transport.too_long:
            raise TooLong from error
        raise
    if transport.too_long:
        raise TooLong


class _Limited(httpx2.AsyncHTTPTransport):
    """Reads no more than ANSWERS_BYTES, and nothing packed: a short answer could unpack to a long one."""

    def __init__(self) -> None:
        super().__init__(verify=trusted())
        self.left = ANSWERS_BYTES
        self.too_long = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.headers.pop("content-encoding", None)
        response.stream = _Counted(response.stream, self)
        return response


class _Counted(httpx2.AsyncByteStream):
    """The body of an answer.

    Args:
        body: what comes.
        transport: which counts.
    """

    def __init__(self, body: httpx2.AsyncByteStream, transport: _Limited) -> None:
        self._body = body
        self._transport = transport

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            self._transport.left -= len(piece)
            if self._transport.left < 0:
                self._transport.too_long = True
                raise httpx2.ReadError("too long")
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()
