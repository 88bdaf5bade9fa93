"""The HTTP client against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from pipit.fetch import Ahead, FetchError, fetch, stream


@contextlib.asynccontextmanager
async def server(answer: bytes, *, hold: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer every connection with these bytes; yield the URL and what was asked."""
    asked: list[bytes] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")), 0)
            asked.append(head + await reader.readexactly(length))
            writer.write(answer)
            await writer.drain()
            if hold:
                await reader.read()
        writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with asyncio.timeout(10), listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", asked


async def test_what_is_sent() -> None:
    async with server(b"HTTP/1.1 204 No Content\r\n\r\n") as (url, asked):
        answer = await fetch(url + "/a/b?c=d", method="POST", headers={"X-Key": "k"}, body=b"{}", timeout_s=5, limit_bytes=10)
    assert (answer.status, answer.body) == (204, b"")
    head, _, body = asked[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a/b?c=d HTTP/1.1"
    assert {"Connection: close", "X-Key: k", "Content-Length: 2", f"Host: {url[7:]}"} < set(lines)
    assert body == b"{}"


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more", b"hello"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (b"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", b""),
    ],
    ids=["length", "end", "chunks", "continue", "not found"],
)
async def test_answers(raw: bytes, body: bytes) -> None:
    async with server(raw) as (url, _):
        answer = await fetch(url, timeout_s=5, limit_bytes=20)
    assert answer.body == body
    assert answer.status == (404 if b"404" in raw else 200)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n" + bytes(21), "the answer is longer than 20 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + bytes(21), "the answer is longer than 20 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nf\r\n" + bytes(15) + b"\r\n6\r\n" + bytes(8),
            "longer than 20 bytes",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "did not answer in HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "did not answer in HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + bytes(40000), "did not answer in HTTP"),
        (b"", "did not answer in HTTP"),
    ],
)
async def test_bad_answers(raw: bytes, words: str) -> None:
    async with server(raw) as (url, _):
        with pytest.raises(FetchError, match=words):
            await fetch(url, timeout_s=5, limit_bytes=20)


async def test_a_server_that_says_nothing() -> None:
    async with server(b"", hold=True) as (url, _):
        with pytest.raises(FetchError, match=r"127.0.0.1 did not answer within 0.1 s"):
            await fetch(url, timeout_s=0.1, limit_bytes=20)


async def test_nobody_there() -> None:
    async with server(b"") as (url, _):
        pass
    async with asyncio.timeout(10):
        with pytest.raises(FetchError, match="cannot be reached"):
            await fetch(url, timeout_s=5, limit_bytes=20)


async def test_a_header_cannot_smuggle_another() -> None:
    async with server(b"HTTP/1.1 204\r\n\r\n") as (url, asked):
        with pytest.raises(FetchError):
            await fetch(url, headers={"X": "a\r\nY: b"}, timeout_s=5, limit_bytes=20)
    assert asked == []


async def test_a_cancelled_request_leaves_nothing_behind() -> None:
    async with server(b"", hold=True) as (url, asked):
        task = asyncio.create_task(fetch(url, timeout_s=5, limit_bytes=20))
        while not asked:  # noqa: ASYNC110 (the server's side signals nothing)
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_body_is_handed_on_while_it_comes() -> None:
    more = asyncio.Event()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\none\r\n\r\n")
        await more.wait()
        writer.write(b"8\r\ntwo\nthre\r\n1\r\ne\r\n0\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with asyncio.timeout(10), listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        async with stream(url, timeout_s=5) as answer:
            lines = answer.lines()
            assert await anext(lines) == b"one"
            more.set()
            assert [line async for line in lines] == [b"two", b"three"]


async def test_a_body_that_falls_silent() -> None:
    async with (
        server(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none", hold=True) as (url, _),
        stream(url, timeout_s=0.3) as answer,
    ):
        pieces = answer.pieces()
        assert await anext(pieces) == b"one"
        with pytest.raises(FetchError, match=r"did not answer within 0.3 s"):
            await anext(pieces)


async def test_what_goes_wrong_in_the_block_is_not_blamed_on_the_host() -> None:
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none") as (url, _):
        with pytest.raises(ValueError, match="ours"):
            async with stream(url, timeout_s=5):
                raise ValueError("ours")


class Counting:
    """A server that counts its connections; those before `dead` requests are closed without an answer."""

    def __init__(self, dead: int = 0) -> None:
        self.connections = 0
        self.dead = dead
        self.writers: list[asyncio.StreamWriter] = []

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            if self.dead:
                self.dead -= 1
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        writer.close()

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[str]:
        listening = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        async with asyncio.timeout(10), listening:
            yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"


async def test_a_connection_opened_ahead_serves_one_request() -> None:
    counting = Counting()
    async with counting.run() as url:
        ahead = Ahead(url)
        await ahead.open(5)
        await ahead.open(5)
        for expected in (1, 2):
            assert (await fetch(url, timeout_s=5, limit_bytes=10, ahead=ahead)).body == b"hi"
            assert counting.connections == expected
        await ahead.release()


async def test_a_connection_that_died_before_the_answer_is_replaced() -> None:
    counting = Counting(dead=1)
    async with counting.run() as url:
        ahead = Ahead(url)
        await ahead.open(5)
        assert (await fetch(url, timeout_s=5, limit_bytes=10, ahead=ahead)).body == b"hi"
        assert counting.connections == 2


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used() -> None:
    counting = Counting()
    async with counting.run() as url:
        ahead = Ahead(url)
        await ahead.open(5)
        while not counting.writers:  # noqa: ASYNC110 (a socket tells nobody that it was accepted)
            await asyncio.sleep(0.01)
        counting.writers[0].close()
        while counting.connections < 2:  # until the end has been noticed, there is nothing to open
            await asyncio.sleep(0.01)
            await ahead.open(5)
        assert (await fetch(url, timeout_s=5, limit_bytes=10, ahead=ahead)).body == b"hi"
        assert counting.connections == 2


async def test_a_host_that_cannot_be_reached_is_told_ahead() -> None:
    with pytest.raises(FetchError, match=r"127\.0\.0\.1 cannot be reached"):
        await Ahead("http://127.0.0.1:9/").open(5)
