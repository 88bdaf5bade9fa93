"""What one message of sound costs: the codecs alone, and with the shell over a real socket beside a bare websockets-and-json loop.

Run: python -m tests.bench.bench_codec

First processor time, then latency: from the call that hands over 20 ms of sound until the service has the frame, and from its own
call until the sound is there as PCM. Messages come one by one, with a pause before each, and all three clients take turns; what the
sockets and the scheduler need is the same for all, so the differences to the bare loop are what codec and shell add.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from statistics import median, quantiles

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from pipit.services import NEW, Codec, Opening, Ready, ReplyAudio, Session
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.durable import Durable
from pipit.services.link import Provider
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import WebSocketSession

MESSAGES = 5000
TIMED, ROUNDS, PAUSE_S = 200, 4, 0.004
CHUNK = bytes(range(256)) * 3 + bytes(192)  # 20 ms at 24 kHz: 960 bytes
DELTA = {
    "type": "response.output_audio.delta",
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
    "delta": base64.b64encode(CHUNK).decode(),
}
REPLY_AUDIO = {"type": "reply.audio", "reply_id": "r1", "data": base64.b64encode(CHUNK).decode()}


def micros(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the processor time of one call, in microseconds; the best of five."""
    best = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(MESSAGES):
            work()
        best.append(time.process_time() - start)
    return min(best) / MESSAGES * 1e6


def plain_up() -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(CHUNK).decode()})


def deltas(count: int) -> list[str]:
    """Return so many messages of sound; each has an id of its own, for what comes twice is heard once."""
    return [json.dumps({**DELTA, "event_id": f"event_{number:021}"}) for number in range(count)]


def plain_down(message: str) -> bytes:
    return base64.b64decode(json.loads(message)["delta"])


async def serving(connection: ServerConnection) -> None:
    """Take a session; take MESSAGES of sound; send as many."""
    await connection.recv()
    await connection.send(json.dumps({"type": "session.updated", "session": {"id": "s"}}))
    for _ in range(MESSAGES):
        await connection.recv(decode=False)
    for delta in deltas(MESSAGES):
        await connection.send(delta)
    await connection.wait_closed()


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[str]:
    """Run the server in a process of its own, so that its time is not ours."""
    program = "import asyncio; from tests.bench.bench_codec import main_server; asyncio.run(main_server())"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield f"ws://127.0.0.1:{(await process.stdout.readline()).decode().strip()}/"
    finally:
        process.terminate()
        await process.wait()


class Clock:
    """When the server got and sent each message of the latest connection, in ns of a clock that all processes share."""

    def __init__(self) -> None:
        self.got: list[int] = []
        self.sent: list[int] = []

    async def serving(self, connection: ServerConnection) -> None:
        """Take a session and TIMED messages of sound, then send as many; or tell the times."""
        assert connection.request is not None
        if connection.request.path == "/times":
            await connection.send(json.dumps([self.got, self.sent]))
            return
        if connection.request.path != "/timed":
            await serving(connection)
            return
        self.got, self.sent = [], []
        await connection.recv()
        await connection.send(json.dumps({"type": "session.updated", "session": {"id": "s"}}))
        for _ in range(TIMED):
            await connection.recv(decode=False)
            self.got.append(time.monotonic_ns())
        for delta in deltas(TIMED):
            await asyncio.sleep(PAUSE_S)
            self.sent.append(time.monotonic_ns())
            await connection.send(delta)
        await connection.wait_closed()


async def main_server() -> None:
    async with serve(Clock().serving, "127.0.0.1", 0, compression=None) as running:
        sys.stdout.write(f"{next(iter(running.sockets)).getsockname()[1]}\n")
        sys.stdout.flush()
        await running.serve_forever()


async def bare(url: str) -> tuple[float, float]:
    async with connect(url, compression=None) as connection:
        await connection.send("hello")
        await connection.recv()
        start = time.process_time()
        for _ in range(MESSAGES):
            await connection.send(plain_up())
        middle = time.process_time()
        for _ in range(MESSAGES):
            plain_down(str(await connection.recv()))
        return middle - start, time.process_time() - middle


def shell(url: str, opening: Opening = NEW) -> Session:
    return WebSocketSession(OpenAIRealtime(Settings(url=url), opening=opening))


async def ours(url: str) -> tuple[float, float]:
    return await talk(shell(url))


async def durable(url: str) -> tuple[float, float]:
    return await talk(Durable([Provider("openai", lambda opening=NEW: shell(url, opening))])())


async def talk(session: Session) -> tuple[float, float]:
    start = middle = 0.0
    count = 0
    async for event in session.events():
        if isinstance(event, Ready):
            start = time.process_time()
            for _ in range(MESSAGES):
                await session.audio(CHUNK)
            middle = time.process_time()
        if isinstance(event, ReplyAudio):
            count += 1
            if count == MESSAGES:
                end = time.process_time()
                await session.close()
    return middle - start, end - middle


Times = tuple[list[int], list[int]]
"""When each message was handed over, and when each was there, in ns."""


async def timed_bare(url: str) -> Times:
    handed, there = [], []
    async with connect(url, compression=None) as connection:
        await connection.send("hello")
        await connection.recv()
        for _ in range(TIMED):
            await asyncio.sleep(PAUSE_S)
            handed.append(time.monotonic_ns())
            await connection.send(plain_up())
        for _ in range(TIMED):
            plain_down(str(await connection.recv()))
            there.append(time.monotonic_ns())
    return handed, there


async def timed_shell(url: str) -> Times:
    return await timed(shell(url))


async def timed_durable(url: str) -> Times:
    return await timed(Durable([Provider("openai", lambda opening=NEW: shell(url, opening))])())


async def timed(session: Session) -> Times:
    handed: list[int] = []
    there: list[int] = []

    async def talk_slowly() -> None:
        for _ in range(TIMED):
            await asyncio.sleep(PAUSE_S)
            handed.append(time.monotonic_ns())
            await session.audio(CHUNK)

    talking: asyncio.Task[None] | None = None
    async for event in session.events():
        if isinstance(event, Ready):
            talking = asyncio.create_task(talk_slowly())
        if isinstance(event, ReplyAudio):
            there.append(time.monotonic_ns())
            if len(there) == TIMED:
                await session.close()
    assert talking is not None
    await talking
    return handed, there


async def latencies() -> list[tuple[str, list[float], list[float]]]:
    """Return for each client the latencies up and down, in microseconds."""
    clients = {
        "bare websockets and json": timed_bare,
        "codec openai in the shell": timed_shell,
        "and what outlives sockets": timed_durable,
    }
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in clients}
    async with server() as url:
        for _ in range(ROUNDS):
            for name, client in clients.items():
                handed, there = await client(url + "timed")
                async with connect(url + "times") as connection:
                    got, sent = json.loads(await connection.recv())
                found[name][0].extend((b - a) / 1000 for a, b in zip(handed, got, strict=True))
                found[name][1].extend((b - a) / 1000 for a, b in zip(sent, there, strict=True))
    return [(name, up, down) for name, (up, down) in found.items()]


def print_latencies(rows: list[tuple[str, list[float], list[float]]]) -> None:
    """Print medians, what is added to the bare loop's, and what 95 of 100 messages stay below."""
    sys.stdout.write("\nus of latency per message of 20 ms, medians, and what is added to those of the bare loop\n")
    sys.stdout.write(f"{'':26} {'up':>7} {'added':>7} {'95 %':>7} {'down':>9} {'added':>7} {'95 %':>7}\n")
    bare_up, bare_down = median(rows[0][1]), median(rows[0][2])
    for name, up, down in rows:
        cells = f"{median(up):7.0f} {median(up) - bare_up:7.0f} {quantiles(up, n=20)[-1]:7.0f}"
        cells += f" {median(down):9.0f} {median(down) - bare_down:7.0f} {quantiles(down, n=20)[-1]:7.0f}"
        sys.stdout.write(f"{name:26} {cells}\n")


async def over_a_socket(run: Callable[[str], Awaitable[tuple[float, float]]]) -> tuple[float, float]:
    """Return microseconds per message up and down; the best of three runs."""
    async with server() as url:
        runs = [await run(url) for _ in range(3)]
    return min(up for up, _ in runs) / MESSAGES * 1e6, min(down for _, down in runs) / MESSAGES * 1e6


def main() -> None:
    rows: list[tuple[str, float, float]] = []
    delta = json.dumps(DELTA)
    codecs: list[tuple[str, Codec, str]] = [
        ("codec openai", OpenAIRealtime(Settings(url="ws://localhost/")), delta),
        ("codec assemblyai", AssemblyAI(AssemblyAISettings(url="ws://localhost/")), json.dumps(REPLY_AUDIO)),
    ]
    rows.append(("json and base64 alone", micros(plain_up), micros(lambda: plain_down(delta))))
    for name, codec, message in codecs:  # no ids: only a socket brings a message twice
        rows.append((name, micros(lambda c=codec: c.audio(CHUNK)), micros(lambda c=codec, m=message: c.receive(m))))  # type: ignore[misc]
    rows.append(("bare websockets and json", *asyncio.run(over_a_socket(bare))))
    rows.append(("codec openai in the shell", *asyncio.run(over_a_socket(ours))))
    rows.append(("and what outlives sockets", *asyncio.run(over_a_socket(durable))))
    sys.stdout.write("us of one core per 20 ms of sound at 24 kHz\n")
    sys.stdout.write(f"{'':26} {'up':>7} {'down':>7} {'% of a core, both ways':>23}\n")
    for name, up, down in rows:
        sys.stdout.write(f"{name:26} {up:7.1f} {down:7.1f} {(up + down) * 50 / 1e4:23.2f}\n")
    print_latencies(asyncio.run(latencies()))


if __name__ == "__main__":
    main()
