"""A TCP connection without surprises: name look-up that cannot hold up the end of the process, IPv6 and IPv4 in a race.

asyncio's own look-up runs in a thread pool that is joined when the loop closes: with the network down, stopping would wait for the
resolver, up to half a minute. Here it runs in a daemon thread whose late answer nobody waits for.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

Address = tuple[socket.AddressFamily, Any]
"""Family and socket address."""

STAGGER_S = 0.25
"""How long one address is tried alone before the next joins in; RFC 8305, section 8, recommends 250 ms."""

UNSENT_BYTES = 16384
"""How much may wait in the kernel unsent: a quarter of a second of speech. Left to itself Linux would queue megabytes, and a write
deadline would notice a dead network a minute late."""

_NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def resolve(host: str, port: int, getaddrinfo: Callable[..., Sequence[Any]] = socket.getaddrinfo) -> list[Address]:
    """Look up a name; return its addresses in the order in which they should be tried (families alternate, RFC 8305 section 4).

    Raises:
        OSError: the name is unknown or no resolver answers (socket.gaierror).
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Sequence[Any]] = loop.create_future()

    def look_up() -> None:
        try:
            found, error = getaddrinfo(host, port, type=socket.SOCK_STREAM), None
        except Exception as raised:  # handed to the loop, which raises it
            found, error = [], raised
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(_settle, answer, found, error)

    threading.Thread(target=look_up, name="pipit-resolver", daemon=True).start()
    addresses = [(family, address) for family, _, _, _, address in await answer]
    first = addresses[0][0] if addresses else None
    preferred = [a for a in addresses if a[0] == first]
    others = [a for a in addresses if a[0] != first]
    return [a for pair in itertools.zip_longest(preferred, others) for a in pair if a is not None]


async def race(addresses: Sequence[Address], write_s: float) -> socket.socket:
    """Connect to whichever address answers first; return a non-blocking socket.

    Args:
        addresses: what `resolve` returned.
        write_s: the kernel gives the connection up when nothing was acknowledged for this long.

    Raises:
        OSError: no address could be reached; the error of the first that was not merely of a family without a route.
    """
    waiting = list(reversed(addresses))
    running: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    winner: socket.socket | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(_attempt(waiting.pop(), write_s)))
            done, _ = await asyncio.wait(running, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                running.discard(task)
                error = task.exception()
                if error is None:
                    winner = task.result()
                    return winner
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        try:
            await _abandon(running)
        except asyncio.CancelledError:
            if winner is not None:
                winner.close()
            raise
    routed = [e for e in errors if e.errno not in _NO_ROUTE]
    raise (routed or errors or [OSError("the name has no address")])[0]


async def _attempt(address: Address, write_s: float) -> socket.socket:
    family, where = address
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        _tune(connection, write_s)
        await asyncio.get_running_loop().sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


def _tune(connection: socket.socket, write_s: float) -> None:
    # Without it a message waits until the one before it was acknowledged (RFC 896): a round trip on top of every 40 ms of speech.
    # asyncio sets it only on sockets that it made itself.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Linux has both; a laptop of another make does without.
    for name, value in (("TCP_USER_TIMEOUT", int(write_s * 1000)), ("TCP_NOTSENT_LOWAT", UNSENT_BYTES)):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def _abandon(tasks: set[asyncio.Task[socket.socket]]) -> None:
    """End attempts that nobody needs; their sockets are closed even if whoever waits here is cancelled once more."""
    for task in tasks:
        task.add_done_callback(_close)
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _close(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _settle(answer: asyncio.Future[Sequence[Any]], found: Sequence[Any], error: Exception | None) -> None:
    if answer.done():
        return  # nobody waits any more
    if error is None:
        answer.set_result(found)
    else:
        answer.set_exception(error)
