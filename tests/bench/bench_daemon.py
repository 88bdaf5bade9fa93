"""What a person notices of the whole daemon, and what it costs: times, processor, memory.

Run: python -m tests.bench.bench_daemon

The daemon is a process of its own. Times are taken on files as sound card, to the sample, and over the virtual sound card, where
PortAudio and ALSA are part of them. Costs are those of the daemon's process alone, beside what a bare interpreter costs, and one
with numpy.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipit.rehearsal import Rehearsal
from tests import speech
from tests.daemon import Daemon, configuration, put_into_microphone
from tests.room import Room

RATE_HZ = 48000
ROUNDS = 5
VOICES = (("en-gb", 150), ("en-gb", 170), ("en-us-nyc", 150), ("en-gb-x-rp", 160), ("flite:slt", 160))
CHATTER = (
    "The kettle is on the stove and the bread is in the oven.",
    "Tomorrow it will rain, they say, but the day after will be fine.",
    "Did you hear what the neighbours said about the garden fence?",
)
AUDIBLE = 104
"""-50 dBFS, as in `pipit.conversation`."""


def seconds(record: Any) -> float:
    return datetime.fromisoformat(record["time"]).timestamp()


def spread(values: Sequence[float], unit: str = "ms") -> str:
    return f"{statistics.median(values):8.0f} {unit}   ({min(values):.0f} to {max(values):.0f}, n = {len(values)})"


def row(what: str, value: str, against: str = "") -> None:
    sys.stdout.write(f"| {what:<58} | {value:<38} | {against} |\n")
    sys.stdout.flush()


def status_kb(pid: int, key: str) -> int:
    return int(next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(key + ":")).split()[1])


def pss_kb(pid: int) -> int:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])


def as_service() -> dict[str, str]:
    """Return what the systemd service sets for the daemon."""
    lines = (Path(__file__).parents[2] / "systemd" / "pipit.service").read_text().splitlines()
    words = [word for line in lines if line.startswith("Environment=") for word in line.partition("=")[2].split()]
    return dict(word.split("=", 1) for word in words)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def wake_to_listening(folder: Path) -> None:
    """The end of the wake word, known to the sample, to the record of LISTENING; the service is on this machine."""
    late, connect = [], []
    for voice, speed in VOICES:
        clip = speech.say("hey jarvis", voice=voice, speed=speed, rate_hz=RATE_HZ)
        put_into_microphone(folder, [(2.0, clip)], seconds=5)
        async with Rehearsal() as server, Daemon(configuration(folder, server.url("openai")), folder, as_service()) as daemon:
            wake = await daemon.until("wake")
            listening = await daemon.until("state", state="listening")
        late.append((wake["at_s"] - 2.0 - len(clip) / RATE_HZ + seconds(listening) - seconds(wake)) * 1000)
        connect.append((seconds(listening) - seconds(wake)) * 1000)
    row("wake word's last sample -> LISTENING", spread(late), "")
    row("  of it: recognised -> session ready, service on this host", spread(connect), "")


async def reply_and_button(folder: Path) -> None:
    """Over the virtual sound card: the first sound received to the first that can be heard, and the button to silence."""
    first, silent = [], []
    story = speech.say("tell me a long story", voice="en-gb", speed=150, rate_hz=RATE_HZ)
    with Room(folder / "room") as room:
        room.record()
        async with Rehearsal() as server:
            settings = configuration(folder, server.url("openai"), conversation={"idle_s": 1})
            settings["audio"] = {"backend": "portaudio"}
            async with Daemon(settings, folder, {**room.environment, **as_service()}) as daemon:
                await daemon.until("ready")
                for number in range(1, ROUNDS + 1):
                    before = len(daemon.records)
                    daemon.press()
                    await daemon.until("state", after=before, state="listening")
                    playing = room.play(story, RATE_HZ)
                    await daemon.until("state", after=before, state="speaking")
                    await asyncio.sleep(1.5)
                    pressed_at = len(room.record())
                    daemon.press()
                    turn = await daemon.until("turn", after=before)
                    await asyncio.sleep(0.5)
                    sound = room.record()[pressed_at:]
                    loud = np.flatnonzero(np.abs(sound.astype(np.int32)) > AUDIBLE)
                    silent.append((loud[-1] + 1) / RATE_HZ * 1000 if len(loud) else 0.0)
                    first.append(float(turn["first_audio_to_audible_ms"]))
                    playing.wait()
                    await daemon.until("state", after=before, state="idle", timeout_s=30)
                    assert number == len(daemon.of("turn"))
    row("first byte of the reply -> first audible sample", spread(first), "60 ms of it is the prebuffer, 40 ms the device")
    row("button -> silence in the room", spread(silent), "two blocks of 20 ms are in the device")


async def costs(folder: Path) -> None:
    """Processor per second of sound, as fast as it goes, and memory."""
    chatter = [speech.say(text, rate_hz=RATE_HZ) for text in CHATTER]
    talk = [(1.0 + 4.5 * n, chatter[n % len(chatter)]) for n in range(13)]
    for what, clips in (("a quiet room", []), ("other speech, all the time", talk)):
        put_into_microphone(folder, clips, seconds=60)
        settings = configuration(folder, audio={"pace": "fast", "input": {"path": str(folder / "heard.wav"), "at_end": "stop"}})
        async with Daemon(settings, folder, as_service()) as daemon:
            await daemon.until("ready")
            before = cpu_s(daemon.process.pid)
            await daemon.until("device_lost", timeout_s=120)
            used = cpu_s(daemon.process.pid) - before
        row(f"processor per second of sound, {what}", f"{used / 60 * 1000:8.1f} ms", f"{used / 60 * 100:.1f} % of one core")
    put_into_microphone(
        folder, [(1.0, np.concatenate([speech.say(t, rate_hz=RATE_HZ) for t in ("hey jarvis", "tell me a long story")]))], 4
    )
    async with Rehearsal() as server, Daemon(configuration(folder, server.url("openai")), folder, as_service()) as daemon:
        await daemon.until("ready")
        await asyncio.sleep(0.5)
        idle = memory(daemon.process.pid)
        await daemon.until("state", state="speaking")
        before, began = cpu_s(daemon.process.pid), time.monotonic()
        await asyncio.sleep(10)
        used = (cpu_s(daemon.process.pid) - before) / (time.monotonic() - began)
        talking = memory(daemon.process.pid)
    row("processor per second of a conversation (a reply plays)", f"{used * 1000:8.1f} ms", f"{used * 100:.1f} % of one core")
    row("memory, idle (resident / proportional)", idle, f"bare interpreter {bare_kb()} kB, with numpy {bare_kb('import numpy')} kB")
    row("memory, in a conversation", talking, "")


def bare_kb(program: str = "") -> int:
    """Return the resident memory of an interpreter that has done nothing else."""
    return int(subprocess.run([sys.executable, "-c", f"{program}\n{_MEMORY}"], capture_output=True, text=True, check=True).stdout)


_MEMORY = "print(next(l for l in open('/proc/self/status') if l.startswith('VmRSS')).split()[1])"


def memory(pid: int) -> str:
    return f"{status_kb(pid, 'VmRSS') / 1024:8.1f} / {pss_kb(pid) / 1024:.1f} MB"


async def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row("figure", "median", "against")
        row("---", "---", "---")
        for work in (wake_to_listening, reply_and_button, costs):
            await work(folder)


if __name__ == "__main__":
    asyncio.run(main())
