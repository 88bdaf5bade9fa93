"""The whole daemon as a process, for the tests: started from a configuration, watched through its records, driven by its button.

async with Daemon(configuration, folder) as daemon:
    await daemon.until("state", state="speaking")
    daemon.press()
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import yaml
from numpy.typing import NDArray

from pipit.audio.wav import write_wav
from tests import speech
from tests.microphone import Microphone

RecordLine = Mapping[str, Any]


class Daemon:
    """`pipit run` as a child process with JSON records, a pipe as button and the terminal's lights on a file.

    Args:
        configuration: sections over the base that `configuration()` makes.
        folder: where its files go.
        environment: over the test's own.
        under: a command to run it under, such as strace.
        microphone: what it hears on top of its WAV file; none, if None.
    """

    def __init__(
        self,
        configuration: Mapping[str, Any],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        under: tuple[str, ...] = (),
        microphone: Microphone | None = None,
    ) -> None:
        self.records: list[RecordLine] = []
        self.noise: list[str] = []
        """Lines on standard error that are no records: there should be none."""
        self.folder = folder
        self._path = folder / "pipit.yaml"
        self.configure(configuration)
        self._environment = {**os.environ, "RUNTIME_DIRECTORY": str(folder), **(environment or {})}
        self._under = under
        self._program = ("pipit.cli",) if microphone is None else ("tests.microphone", str(microphone.path))
        self._changed = asyncio.Condition()
        self.started_at = 0.0

    async def __aenter__(self) -> Self:
        self.started_at = time.time()
        lights = (self.folder / "lights.txt").open("wb")
        self.process = await asyncio.create_subprocess_exec(
            *self._under,
            sys.executable,
            "-m",
            *self._program,
            "run",
            "--config",
            str(self._path),
            stdin=asyncio.subprocess.PIPE,
            stdout=lights,
            stderr=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=1 << 24,
        )
        lights.close()
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.returncode is None:
            await self.stop()
        await self._reader

    async def stop(self) -> float:
        """End it as systemd would; return how long that took, in seconds."""
        began = time.monotonic()
        self.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), 10)
        except TimeoutError:
            self.process.kill()
            raise
        return time.monotonic() - began

    def send_signal(self, number: int) -> None:
        """Send a signal to the daemon itself, not to what it runs under."""
        target = self.process.pid
        if self._under:
            children = Path(f"/proc/{target}/task/{target}/children").read_text().split()
            target = int(children[0])
        os.kill(target, number)

    async def command(self, *words: str) -> tuple[int, str]:
        """Run `pipit WORDS` as the owner would beside this daemon; return its exit status and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipit.cli", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        printed, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, printed.decode()

    def configure(self, configuration: Mapping[str, Any]) -> None:
        """Write the configuration file anew."""
        text = yaml.safe_dump(dict(configuration))
        self._path.write_text(re.sub(r"'(![a-z]+ [^']+)'", r"\1", text))  # "!env NAME" stands for a tag

    def press(self) -> None:
        """Press the button."""
        self._type(b"\n")

    def hold(self) -> None:
        """Hold the button."""
        self._type(b"m\n")

    def _type(self, keys: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(keys)

    async def until(self, event: str, after: int = 0, timeout_s: float = 30.0, **fields: Any) -> RecordLine:
        """Return the first record of this kind with these fields, at index `after` or later; wait for it.

        Raises:
            AssertionError: none came in time, or the daemon ended.
        """

        def found() -> RecordLine | None:
            return next(
                (r for r in self.records[after:] if r["event"] == event and all(r.get(k) == v for k, v in fields.items())), None
            )

        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: found() or self._reader.done())
        except TimeoutError:
            pass
        record = found()
        assert record is not None, f"no record {event} {fields} within {timeout_s} s; got:\n{self.log()}"
        return record

    def of(self, event: str, **fields: Any) -> list[RecordLine]:
        """Return the records of one kind so far."""
        return [r for r in self.records if r["event"] == event and all(r.get(k) == v for k, v in fields.items())]

    def log(self) -> str:
        """Return everything it said, for failure messages."""
        return "\n".join([f"{r.get('time')} {r['event']}: {r['message']}" for r in self.records] + self.noise)

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                record = json.loads(line)
            except ValueError:
                self.noise.append(line.decode(errors="replace").rstrip())
            else:
                self.records.append(record)
            async with self._changed:
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()


def configuration(
    folder: Path, url: str = "ws://127.0.0.1:9/v1/realtime", provider: str = "openai", **sections: Any
) -> dict[str, Any]:
    """Return the configuration of a daemon with the file backend, terminal lights and the keyboard as button."""
    base: dict[str, Any] = {
        "service": {"provider": provider, "url": url},
        "audio": {
            "backend": "file",
            "input": {"path": str(folder / "heard.wav")},
            "output": {"path": str(folder / "played.wav"), "rate": 48000},
        },
        "echo": {"engine": "off"},  # nothing that is played comes back from a file
        "conversation": {"idle_s": 2},
        "leds": {"driver": "terminal"},
        "button": {"driver": "keyboard"},
        "log": {"level": "debug", "format": "json"},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section}
    return base


def put_into_microphone(folder: Path, clips: list[tuple[float, NDArray[np.int16]]], seconds: float, rate_hz: int = 48000) -> None:
    """Write the WAV that the daemon will hear: clips at times over room noise; silence after its end."""
    write_wav(folder / "heard.wav", speech.timeline(clips, seconds=seconds, rate_hz=rate_hz, noise_dbfs=-60), rate_hz)
