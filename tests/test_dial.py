from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipit import dial
from pipit.dial import race, resolve

V4, V6 = socket.AF_INET, socket.AF_INET6


def found(*addresses: tuple[socket.AddressFamily, str]) -> list[Any]:
    return [(family, socket.SOCK_STREAM, 6, "", (host, 1)) for family, host in addresses]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def black_hole() -> Iterator[tuple[str, int]]:
    """Yield an address that takes no more connections and refuses none: its queue is full."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()


@pytest.fixture
def closed_port() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address: tuple[str, int] = server.getsockname()
    return address


async def test_families_alternate_beginning_with_the_preferred_one() -> None:
    def look_up(host: str, port: int, *, type: int) -> list[Any]:
        return found((V6, "::1"), (V6, "::2"), (V6, "::3"), (V4, "1.1.1.1"))

    async with asyncio.timeout(5):
        addresses = await resolve("h", 1, look_up)
    assert [host for _, (host, _) in addresses] == ["::1", "1.1.1.1", "::2", "::3"]


async def test_an_unknown_name_is_an_oserror() -> None:
    def look_up(host: str, port: int, *, type: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with asyncio.timeout(5):
        with pytest.raises(socket.gaierror, match="not known"):
            await resolve("h", 1, look_up)


async def test_a_real_look_up() -> None:
    async with asyncio.timeout(5):
        assert ("127.0.0.1", 80) in [address for family, address in await resolve("127.0.0.1", 80)]


async def test_an_answer_that_comes_too_late_is_dropped() -> None:
    release = threading.Event()
    threads = []

    def look_up(host: str, port: int, *, type: int) -> list[Any]:
        threads.append(threading.current_thread())
        release.wait(5)
        return found((V4, "1.1.1.1"))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await resolve("h", 1, look_up)
    release.set()
    threads[0].join(5)
    await asyncio.sleep(0)  # the late answer arrives in the loop, and finds nobody
    assert not threads[0].is_alive()


def test_a_resolver_that_hangs_does_not_hold_up_the_end_of_the_process() -> None:
    program = """
import asyncio, time
from pipit.dial import resolve

async def main():
    async with asyncio.timeout(0.1):
        await resolve("h", 1, lambda *a, **k: time.sleep(60))

try:
    asyncio.run(main())
except TimeoutError:
    print("given up")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert (done.stdout, done.stderr) == ("given up\n", "")


async def test_the_first_address_that_answers_wins(listener: socket.socket, black_hole: tuple[str, int]) -> None:
    async with asyncio.timeout(5):
        with await race([(V4, black_hole), (V4, listener.getsockname())], write_s=10) as winner:
            assert winner.getpeername() == listener.getsockname()
            assert winner.getblocking() is False


async def test_a_refusal_makes_way_for_the_next_at_once(
    listener: socket.socket, closed_port: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "STAGGER_S", 3600)
    async with asyncio.timeout(5):
        with await race([(V4, closed_port), (V4, listener.getsockname())], write_s=10) as winner:
            assert winner.getpeername() == listener.getsockname()


async def test_a_dead_network_is_noticed_by_the_kernel(listener: socket.socket) -> None:
    with await race([(V4, listener.getsockname())], write_s=7) as winner:
        if not hasattr(socket, "TCP_USER_TIMEOUT"):
            pytest.skip("this kernel has no TCP_USER_TIMEOUT")
        assert winner.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 7000
        assert winner.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == dial.UNSENT_BYTES


async def test_a_small_message_does_not_wait_for_the_one_before_it(listener: socket.socket) -> None:
    with await race([(V4, listener.getsockname())], write_s=7) as winner:
        assert winner.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_all_refuse(closed_port: tuple[str, int]) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefusedError):
            await race([(V4, closed_port), (V4, closed_port)], write_s=10)


async def test_a_family_without_a_route_is_not_the_reason_given(monkeypatch: pytest.MonkeyPatch) -> None:
    async def attempt(address: dial.Address, write_s: float) -> socket.socket:
        raise OSError(errno.ENETUNREACH, "no route") if address[0] is V6 else ConnectionRefusedError(errno.ECONNREFUSED, "no")

    monkeypatch.setattr(dial, "_attempt", attempt)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefusedError):
            await race([(V6, "v6"), (V4, "v4")], write_s=10)
        with pytest.raises(OSError, match="no route"):
            await race([(V6, "v6")], write_s=10)


async def test_a_second_winner_is_closed(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    both = asyncio.Event()
    made: list[socket.socket] = []

    async def attempt(address: dial.Address, write_s: float) -> socket.socket:
        made.append(socket.create_connection(listener.getsockname()))
        if len(made) == 2:
            both.set()
        await both.wait()
        return made[0 if address[1] == "first" else 1]

    monkeypatch.setattr(dial, "_attempt", attempt)
    monkeypatch.setattr(dial, "STAGGER_S", 0)
    async with asyncio.timeout(5):
        with await race([(V4, "first"), (V4, "second")], write_s=10) as winner:
            assert [connection.fileno() == -1 for connection in made] == [connection is not winner for connection in made]


async def test_a_fault_of_ours_in_an_attempt_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def attempt(address: dial.Address, write_s: float) -> socket.socket:
        raise KeyError("x")

    monkeypatch.setattr(dial, "_attempt", attempt)
    with pytest.raises(KeyError):
        await race([(V4, "v4")], write_s=10)


async def test_no_address_at_all() -> None:
    async with asyncio.timeout(5):
        with pytest.raises(OSError, match="the name has no address"):
            await race([], write_s=10)


async def test_cancelling_leaves_no_socket_behind(black_hole: tuple[str, int]) -> None:
    with pytest.raises(TimeoutError):  # an unclosed socket would be a ResourceWarning, and warnings are errors
        async with asyncio.timeout(0.05):
            await race([(V4, black_hole), (V4, black_hole)], write_s=10)
    assert len(asyncio.all_tasks()) == 1


async def test_who_is_cancelled_while_the_others_are_ended_leaves_no_winner_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[socket.socket] = []
    ending, ended = asyncio.Event(), asyncio.Event()

    async def attempt(address: dial.Address, write_s: float) -> socket.socket:
        connection = socket.socket()
        made.append(connection)
        if address[1] == "slow":
            try:
                await asyncio.Event().wait()
            finally:
                ending.set()
                await ended.wait()
        return connection

    async def late(address: dial.Address, write_s: float) -> socket.socket:
        with contextlib.suppress(asyncio.CancelledError):
            return await attempt(address, write_s)
        return made[0]  # it has won as well, while it was being cancelled

    monkeypatch.setattr(dial, "_attempt", late)
    monkeypatch.setattr(dial, "STAGGER_S", 0)
    async with asyncio.timeout(10):
        racing = asyncio.create_task(race([(V4, "slow"), (V4, "fast")], write_s=10))
        await ending.wait()
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing
        ended.set()
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - the task that is left belongs to nobody
            await asyncio.sleep(0.01)
    assert [connection.fileno() for connection in made] == [-1, -1]
