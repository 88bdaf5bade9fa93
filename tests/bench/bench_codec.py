"""What one message of sound costs: the codecs alone, and with the shell over a real socket beside a bare websockets-and-json loop.

Run: python -m tests.bench.bench_codec
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from pipit.services import NEW, Codec, Opening, Ready, ReplyAudio, Session
from pipit.services.assemblyai import AssemblyAI
from pipit.services.assemblyai import Settings as AssemblyAISettings
from pipit.services.durable import Durable, Provider
from pipit.services.openai_realtime import OpenAIRealtime, Settings
from pipit.services.websocket import WebSocketSession

MESSAGES = 5000
CHUNK = bytes(range(256)) * 3 + bytes(192)  # 20 ms at 24 kHz: 960 bytes
DELTA = {
    "type": "response.output_audio.delta",
    "event_id": "event_CLkp1VFm8zQ2y",
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


def plain_down(message: str) -> bytes:
    return base64.b64decode(json.loads(message)["delta"])


async def serving(connection: ServerConnection) -> None:
    """Take a session; take MESSAGES of sound; send as many."""
    await connection.recv()
    await connection.send(json.dumps({"type": "session.updated", "session": {"id": "s"}}))
    for _ in range(MESSAGES):
        await connection.recv(decode=False)
    delta = json.dumps(DELTA)
    for _ in range(MESSAGES):
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


async def main_server() -> None:
    async with serve(serving, "127.0.0.1", 0, compression=None) as running:
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
    for name, codec, message in codecs:
        rows.append((name, micros(lambda c=codec: c.audio(CHUNK)), micros(lambda c=codec, m=message: c.receive(m))))  # type: ignore[misc]
    rows.append(("bare websockets and json", *asyncio.run(over_a_socket(bare))))
    rows.append(("codec openai in the shell", *asyncio.run(over_a_socket(ours))))
    rows.append(("and what outlives sockets", *asyncio.run(over_a_socket(durable))))
    sys.stdout.write("us of one core per 20 ms of sound at 24 kHz\n")
    sys.stdout.write(f"{'':26} {'up':>7} {'down':>7} {'% of a core, both ways':>23}\n")
    for name, up, down in rows:
        sys.stdout.write(f"{name:26} {up:7.1f} {down:7.1f} {(up + down) * 50 / 1e4:23.2f}\n")


if __name__ == "__main__":
    main()
