"""One HTTP request: for temporary tokens and for tools. No redirects, no proxies, no cookies, and no thread that outlives it.

HTTP/1.1 as in RFC 9112, one request for each connection. A library would do more, but would bring connections that stay open, and a
redirect could carry a key to another host.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipit.dial import race, resolve

HEAD_BYTES = 32768
"""Longest head of an answer."""


class FetchError(Exception):
    """The request failed on the way; the message says what is wrong, without the address's path or query, which may hold a key."""


@dataclass(frozen=True)
class Answer:
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

    Raises:
        FetchError: no answer, not in time, too long, or not HTTP.
    """
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme == "https"
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await resolve(host, parts.port or (443 if secure else 80))
            plain = await race(addresses, timeout_s)
            context = (tls or trusted()) if secure else None
            reader, writer = await asyncio.open_connection(
                sock=plain, ssl=context, server_hostname=host if secure else None, limit=HEAD_BYTES
            )
            try:
                writer.write(_head(url, method, headers or {}, body) + body)
                return await _answer(reader, method, limit_bytes)
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError:
        raise FetchError(f"{host} did not answer within {timeout_s:g} s") from None
    except ssl.SSLError as error:
        raise FetchError(f"{host}: the encryption failed ({error.reason or error})") from None
    except OSError as error:
        raise FetchError(f"{host} cannot be reached ({error.strerror or type(error).__name__})") from None
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        raise FetchError(f"{host} did not answer in HTTP") from None


def _head(url: str, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given = {"Host": parts.netloc.rpartition("@")[2], "Accept-Encoding": "identity", "Connection": "close", **headers}
    if body or method not in ("GET", "HEAD", "DELETE"):
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    if any(re.search(r"[\r\n\0]", line) for line in lines):
        raise ValueError("a line break in a header")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


async def _answer(reader: asyncio.StreamReader, method: str, limit_bytes: int) -> Answer:
    status = 100
    while 100 <= status < 200:  # "100 Continue" and its like come before the answer
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        found = re.fullmatch(r"HTTP/1\.[01] (\d{3})(?: .*)?", first)
        if found is None:
            raise ValueError(first)
        status = int(found[1])
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if method == "HEAD" or status in (204, 304):
        body = b""
    elif "chunked" in headers.get("transfer-encoding", "").lower():
        body = await _chunks(reader, limit_bytes)
    elif "content-length" in headers:
        body = await reader.readexactly(_within(int(headers["content-length"]), limit_bytes))
    else:
        body = await _until_end(reader, limit_bytes)
    return Answer(status, headers, body)


async def _chunks(reader: asyncio.StreamReader, limit_bytes: int) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        _within(len(body) + size, limit_bytes)
        body += await reader.readexactly(_within(size, limit_bytes))
        await reader.readexactly(2)
    return bytes(body)


async def _until_end(reader: asyncio.StreamReader, limit_bytes: int) -> bytes:
    body = bytearray()
    while piece := await reader.read(65536):
        body += piece
        _within(len(body), limit_bytes)
    return bytes(body)


def _within(size: int, limit_bytes: int) -> int:
    if not 0 <= size <= limit_bytes:
        raise FetchError(f"the answer is longer than {limit_bytes} bytes")
    return size
