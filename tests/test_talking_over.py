"""A person, a loudspeaker and a microphone in one room: the real daemon on the virtual sound card.

The echo has a delay and a room around it. How well it is cancelled in rooms of all kinds is measured by tests/bench/bench_echo.py.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipit.rehearsal import Rehearsal
from tests import speech
from tests.daemon import Daemon, RecordLine, configuration
from tests.room import Room

ECHO_DB = -10.0
LOUD_DBFS = -22.0
ATTEMPTS = 3


@asynccontextmanager
async def telling_a_story(room: Room, folder: Path, delay_ms: int = 120, **echo: Any) -> AsyncIterator[tuple[Rehearsal, Daemon]]:
    """Yield a daemon that tells a story into the room, which the microphone hears a while later."""
    settings = configuration(folder, echo=echo, conversation={"idle_s": 8})
    settings["audio"] = {"backend": "portaudio", "output": {"volume": 75}}
    room.echo(ECHO_DB, delay_ms, reverberation_s=0.2)
    background = room.play(speech.noise(100, room.rate_hz, dbfs=-66), room.rate_hz)
    environment = {**room.environment, "STATE_DIRECTORY": str(folder)}
    try:
        async with asyncio.timeout(90), Rehearsal() as server:
            settings["service"]["url"] = server.url("openai")
            async with Daemon(settings, folder, environment) as daemon:
                await daemon.until("ready")
                daemon.press()
                await daemon.until("state", state="listening", timeout_s=8)
                room.say("tell me a long story", dbfs=LOUD_DBFS)
                await daemon.until("state", state="speaking", timeout_s=10)
                yield server, daemon
    finally:
        background.stop()


def speaking(daemon: Daemon) -> bool:
    return daemon.of("state")[-1]["state"] == "speaking"


def interrupted(daemon: Daemon) -> list[RecordLine]:
    """Return the replies that were: where the wake word's tail is a turn of its own, what it began is not heard."""
    return [turn for turn in daemon.of("turn", interrupted=True) if turn["reply_ms"] > 0]


async def attempt(scene: Callable[[Room, Path], Awaitable[None]], room: Room, folder: Path) -> None:
    """Play a scene, up to three times: on a busy machine PulseAudio loses more samples in a minute than a sound card in a year."""
    for number in range(ATTEMPTS):
        (folder / str(number)).mkdir()
        try:
            return await scene(room, folder / str(number))
        except AssertionError:
            if number < ATTEMPTS - 1:
                continue
            load, cores = os.getloadavg()[0], os.cpu_count() or 1
            if load > 2 * cores:
                pytest.skip(f"a load of {load:.0f} on {cores} cores: too busy for a virtual sound card")
            raise


async def test_it_does_not_interrupt_itself_and_whoever_speaks_over_it_stops_it(room: Room, tmp_path: Path) -> None:
    await attempt(full_duplex, room, tmp_path)


async def full_duplex(room: Room, folder: Path) -> None:
    async with telling_a_story(room, folder, engine="hybrid") as (server, daemon):
        proven = await daemon.until("echo", full_duplex=True, timeout_s=12)
        assert proven["verdict"] == "works"
        assert proven["removed_db"] > 20
        before = len(server.sessions[0].received)
        await asyncio.sleep(3)
        assert speaking(daemon), daemon.log()
        assert not interrupted(daemon), daemon.log()
        silence_went_up(server, before, daemon)
        room.say("stop please that is enough", dbfs=LOUD_DBFS)
        turn = await daemon.until("turn", timeout_s=10)
        assert turn["interrupted"], daemon.log()
        assert turn["echo_removed_db"] > 20
        await daemon.until("state", state="hearing", previous="speaking")
        while not (folder / "echo.bin").exists():  # noqa: ASYNC110 (it is kept a second after the last sound)
            await asyncio.sleep(0.1)
    assert server.connections == 1
    assert daemon.noise == []


async def test_where_it_is_not_cancelled_well_enough_it_falls_back_and_says_so_once(room: Room, tmp_path: Path) -> None:
    """A loudspeaker that sounds a second late, such as one on the radio: no canceller reaches so far."""
    await attempt(half_duplex, room, tmp_path)


async def half_duplex(room: Room, folder: Path) -> None:
    async with telling_a_story(room, folder, 1000, engine="hybrid") as (server, daemon):
        said = await daemon.until("echo", verdict="fails", timeout_s=12)
        assert said["full_duplex"] is False
        assert said["level"] == "warning"
        assert "where 20 dB are needed (echo.floor_db)" in said["message"]
        before = len(server.sessions[0].received)
        room.say("stop please that is enough of it", dbfs=LOUD_DBFS)
        await asyncio.sleep(3)
        assert speaking(daemon), daemon.log()
        assert not interrupted(daemon), daemon.log()
        silence_went_up(server, before, daemon)
        assert len(daemon.of("echo")) == 1


async def test_with_the_canceller_off_it_says_so_and_only_the_wake_word_interrupts(room: Room, tmp_path: Path) -> None:
    await attempt(without, room, tmp_path)


async def without(room: Room, folder: Path) -> None:
    async with telling_a_story(room, folder, engine="off") as (server, daemon):
        said = await daemon.until("echo")
        assert "half duplex, because nothing cancels the echo" in said["message"]
        await asyncio.sleep(1)
        before = len(server.sessions[0].received)
        room.say("stop please", dbfs=LOUD_DBFS)
        await asyncio.sleep(2)
        assert speaking(daemon), daemon.log()
        silence_went_up(server, before, daemon)
        since = len(daemon.records)
        room.say("hey jarvis", dbfs=LOUD_DBFS)
        await daemon.until("state", state="listening", previous="speaking", timeout_s=8)
        await daemon.until("turn", after=since, interrupted=True)


def silence_went_up(server: Rehearsal, before: int, daemon: Daemon) -> None:
    """Nothing that was said over the reply, and no echo, may have reached the service since."""
    [session] = server.sessions
    received = np.frombuffer(bytes(session.received[before : len(session.received) // 2 * 2]), "<i2")
    assert len(received) > 24000, "the service's clock stands still"
    assert not received.any(), f"heard at {np.flatnonzero(received)[[0, -1]] / 24000} s of {len(received) / 24000}\n{daemon.log()}"
