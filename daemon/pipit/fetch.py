"""HTTP requests: one for each connection. No redirects, no proxies, no cookies, and no thread that outlives one.

HTTP/1.1 as in RFC 9112. `fetch` returns a whole answer, `stream` hands on its body while it comes, `Ahead` opens the connection of
the next request before there is one. A library would do more, but would bring connections that stay open, and a redirect could
carry a key to another host.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from pipit.dial import race, resolve

HEAD_BYTES = 32768
"""Longest head of an answer."""

FRESH_S = 20.0
"""A connection that was opened ahead is used for so long; servers close those that say nothing after 30 s and more."""

_PIECE_BYTES = 65536


class FetchError(Exception):
    """The request failed on the way; the message says what is wrong, without the address's path or query, which may hold a key."""


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of a name that came twice the last."""
    body: bytes


@functools.cache
def trusted() -> ssl.SSLContext:
    """Return the one TLS context, with the system's certificates."""
    return ssl.create_default_context()


async def fetch(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float,
    limit_bytes: int,
    tls: ssl.SSLContext | None = None,
    ahead: Ahead | None = None,
) -> Answer:
    """Send a request and return the whole answer, whatever its status.

    Args:
        url: http:// or https://.
        method: GET, POST and so on.
        headers: besides Host, Content-Length and Connection.
        body: what is sent.
        timeout_s: for all of it.
        limit_bytes: longest body that is accepted.
        tls: other than the system's certificates.
        ahead: where a connection to this host may be open already.

    Raises:
        FetchError: no answer, not in time, too long, or not HTTP.
    """
    host = urlsplit(url).hostname or ""
    try:
        async with asyncio.timeout(timeout_s):
            asked = stream(url, method=method, headers=headers, body=body, timeout_s=timeout_s, tls=tls, ahead=ahead)
            async with asked as answer:
                return Answer(answer.status, answer.headers, await answer.read(limit_bytes))
    except TimeoutError:
        raise FetchError(f"{host} did not answer within {timeout_s:g} s") from None


@contextlib.asynccontextmanager
async def stream(
    url: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
    ahead: Ahead | None = None,
) -> AsyncIterator[Stream]:
    """Send a request; yield the answer once its head has come. Leaving the block closes the connection.

    Args:
        url: as for `fetch`, like all but `timeout_s`.
        method: GET, POST and so on.
        headers: besides Host, Content-Length and Connection.
        body: what is sent.
        timeout_s: until the head has come, and then for each silence in the body.
        tls: other than the system's certificates.
        ahead: where a connection to this host may be open already.

    Raises:
        FetchError: see `fetch`; the answer's methods raise it too.
    """
    parts = urlsplit(url)
    with _explained(parts, timeout_s):
        request = _head(parts, method, headers or {}, body) + body
        async with asyncio.timeout(timeout_s):
            connection, answer = await _ask(parts, request, method, timeout_s, tls, ahead)
    try:
        yield answer
    finally:
        await answer.close()
        await connection.close()


class Stream:
    """An answer whose body is still coming."""

    def __init__(
        self, status: int, headers: Mapping[str, str], body: AsyncGenerator[bytes, None], parts: SplitResult, timeout_s: float
    ):
        self.status = status
        self.headers = headers
        """See `Answer.headers`."""
        self._body = body
        self._parts = parts
        self._timeout_s = timeout_s

    async def close(self) -> None:
        """Read no more of it."""
        await self._body.aclose()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes, in pieces of any size."""
        while True:
            with _explained(self._parts, self._timeout_s):
                async with asyncio.timeout(self._timeout_s):
                    piece = await anext(self._body, b"")
            if not piece:
                return
            yield piece

    async def lines(self, limit_bytes: int = HEAD_BYTES) -> AsyncGenerator[bytes, None]:
        """Yield the body line by line, without the line ends. A line longer than the limit is an error."""
        rest = b""
        async for piece in self.pieces():
            *whole, rest = (rest + piece).split(b"\n")
            _within(len(rest), limit_bytes)
            for line in whole:
                yield line.removesuffix(b"\r")
        if rest:
            yield rest

    async def read(self, limit_bytes: int) -> bytes:
        """Return the whole body, which is not to be longer than this."""
        length = self.headers.get("content-length", "")
        if length.isdecimal() and len(length) < 20:  # of thousands of digits Python makes no number
            _within(int(length), limit_bytes)
        body = bytearray()
        async for piece in self.pieces():
            body += piece
            _within(len(body), limit_bytes)
        return bytes(body)


class Ahead:
    """Keeps one connection to a host open for the next request, so that it need not wait for the handshakes.

    Args:
        url: of the request; only the host counts.
        tls: other than the system's certificates.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._parts = urlsplit(url)
        self._tls = tls
        self._ready: _Connection | None = None
        self._opening = asyncio.Lock()

    async def open(self, timeout_s: float) -> None:
        """Have a connection that is fresh; does nothing where there is one.

        Raises:
            FetchError: the host cannot be reached.
        """
        async with self._opening:
            if self._ready is not None and self._ready.fresh:
                return
            await self.release()
            with _explained(self._parts, timeout_s):
                async with asyncio.timeout(timeout_s):
                    self._ready = await _connect(self._parts, timeout_s, self._tls)

    def take(self) -> _Connection | None:
        """Return the connection, which is then somebody else's; None where there is none that can be used."""
        connection, self._ready = self._ready, None
        if connection is not None and not connection.fresh:
            connection.writer.transport.abort()
            return None
        return connection

    async def release(self) -> None:
        """Close what is open; `open` may follow."""
        connection, self._ready = self._ready, None
        if connection is not None:
            await connection.close()


@dataclass(eq=False)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    opened_at: float

    @property
    def fresh(self) -> bool:
        """Whether a request may still be sent: the server has not closed it, and is not about to."""
        alive = not self.reader.at_eof() and not self.writer.is_closing() and self.reader.exception() is None
        return alive and asyncio.get_running_loop().time() - self.opened_at < FRESH_S

    async def close(self) -> None:
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def _connect(parts: SplitResult, timeout_s: float, tls: ssl.SSLContext | None) -> _Connection:
    host, secure = parts.hostname or "", parts.scheme == "https"
    addresses = await resolve(host, parts.port or (443 if secure else 80))
    plain = await race(addresses, timeout_s)
    try:
        reader, writer = await asyncio.open_connection(
            sock=plain, ssl=(tls or trusted()) if secure else None, server_hostname=host if secure else None, limit=HEAD_BYTES
        )
    except BaseException:
        plain.close()
        raise
    return _Connection(reader, writer, asyncio.get_running_loop().time())


async def _ask(
    parts: SplitResult, request: bytes, method: str, timeout_s: float, tls: ssl.SSLContext | None, ahead: Ahead | None
) -> tuple[_Connection, Stream]:
    """Send the request and read the answer's head; a connection that was opened ahead and is dead after all is replaced once."""
    connection = ahead.take() if ahead is not None else None
    if connection is not None:
        try:
            return connection, await _exchange(connection, parts, request, method, timeout_s)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            await connection.close()
            if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                raise
        except BaseException:
            await connection.close()
            raise
    connection = await _connect(parts, timeout_s, tls)
    try:
        return connection, await _exchange(connection, parts, request, method, timeout_s)
    except BaseException:
        await connection.close()
        raise


async def _exchange(connection: _Connection, parts: SplitResult, request: bytes, method: str, timeout_s: float) -> Stream:
    connection.writer.write(request)
    reader, status = connection.reader, 100
    headers: dict[str, str] = {}
    while 100 <= status < 200:  # "100 Continue" and its like come before the answer
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        found = re.fullmatch(r"HTTP/1\.[01] (\d{3})(?: .*)?", first)
        if found is None:
            raise ValueError(first)
        status = int(found[1])
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if method == "HEAD" or status in (204, 304):
        body = _counted(reader, 0)
    elif "chunked" in headers.get("transfer-encoding", "").lower():
        body = _chunks(reader)
    elif "content-length" in headers:
        body = _counted(reader, int(headers["content-length"]))
    else:
        body = _until_end(reader)
    return Stream(status, headers, body, parts, timeout_s)


@contextlib.contextmanager
def _explained(parts: SplitResult, timeout_s: float) -> Iterator[None]:
    """Turn what can go wrong on the way into words. To be put around our own waiting only."""
    host = parts.hostname or ""
    try:
        yield
    except TimeoutError:
        raise FetchError(f"{host} did not answer within {timeout_s:g} s") from None
    except ssl.SSLError as error:
        raise FetchError(f"{host}: the encryption failed ({error.reason or error})") from None
    except OSError as error:
        raise FetchError(f"{host} cannot be reached ({error.strerror or type(error).__name__})") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        raise FetchError(f"{host} did not answer in HTTP") from None


def _head(parts: SplitResult, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = {"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "identity", "Connection": "close", **headers}
    if body or method not in ("GET", "HEAD", "DELETE"):
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    if any(re.search(r"[\r\n\0]", line) for line in lines):
        raise ValueError("a line break in a header")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


async def _chunks(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    while left := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        if left < 0:
            raise ValueError("a chunk of less than nothing")
        async for piece in _counted(reader, left):
            yield piece
        await reader.readexactly(2)


async def _counted(reader: asyncio.StreamReader, left: int) -> AsyncGenerator[bytes, None]:
    if left < 0:
        raise ValueError("a body of less than nothing")
    while left:
        piece = await reader.read(min(left, _PIECE_BYTES))
        if not piece:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(piece)
        yield piece


async def _until_end(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    while piece := await reader.read(_PIECE_BYTES):
        yield piece


def _within(size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise FetchError(f"the answer is longer than {limit_bytes} bytes")
