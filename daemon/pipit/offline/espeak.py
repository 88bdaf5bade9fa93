"""Speaks: espeak-ng as a child process for each sentence, its sound taken while it is being made."""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator

import numpy as np
from numpy.typing import NDArray

from pipit.core.pcm import Joiner, Resampler
from pipit.errors import ConfigError

WORDS_PER_MINUTE = 165
_READ_BYTES = 4096


def check() -> None:
    """Make sure that there is a voice.

    Raises:
        ConfigError: espeak-ng is not installed.
    """
    if shutil.which("espeak-ng") is None:
        raise ConfigError("speaking without a network needs espeak-ng, which is not installed: apt install espeak-ng")


async def speak(sentence: str, rate_hz: int, voice: str = "en-gb", speed: int = WORDS_PER_MINUTE) -> AsyncGenerator[bytes, None]:
    """Yield a sentence as PCM16 mono in pieces of any size, the first a few ms after the call.

    To be closed (`contextlib.aclosing`), because there is a process behind it.

    Args:
        sentence: what is said.
        rate_hz: sample rate of the result.
        voice: an espeak-ng voice.
        speed: words a minute, 80 to 450.
    """
    process = await _started(*_command(sentence, voice, speed))
    assert process.stdout is not None
    try:
        header = await process.stdout.readexactly(_HEADER_BYTES)
        resampler = Resampler(_rate_hz(header), rate_hz)
        joiner = Joiner()
        while pcm := await process.stdout.read(_READ_BYTES):
            yield resampler.process(joiner.feed(pcm)).tobytes()
    finally:
        # Not killed but read to its end, which a sentence reaches within some 20 ms: killing a process that has just ended would
        # take its exit status away from asyncio.
        await _ended(process)


async def _started(*command: str) -> asyncio.subprocess.Process:
    """Start a process."""
    starting = asyncio.create_task(asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=PIPE))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await _ended(await starting)  # cancelled in the middle, asyncio would leave it behind half made
        raise


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Wait for the end of a process, even if the wait is cancelled: nobody else will."""
    ending = asyncio.create_task(process.communicate())
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


def synthesise(sentence: str, rate_hz: int, voice: str = "en-gb", speed: int = WORDS_PER_MINUTE) -> NDArray[np.int16]:
    """Return a sentence as samples, shape (n,); takes about 30 ms. The arguments are those of `speak`.

    Raises:
        ConfigError: espeak-ng is not installed.
    """
    check()
    wav = subprocess.run(_command(sentence, voice, speed), stdin=DEVNULL, stdout=PIPE, check=True).stdout
    resampler = Resampler(_rate_hz(wav), rate_hz)
    return resampler.process(Joiner().feed(wav[_HEADER_BYTES:]))


def _command(sentence: str, voice: str, speed: int) -> list[str]:
    return ["espeak-ng", "-v", voice, "-s", str(speed), "--stdout", "--", sentence]


_HEADER_BYTES = 44


def _rate_hz(wav: bytes) -> int:
    """Read the sample rate from a WAV file's head; espeak-ng writes the plain 44 bytes, with a length that it cannot know yet."""
    rate_hz: int
    riff, kind, chunk, rate_hz, data = struct.unpack_from("<4s4x4s4s8xI8x4s", wav)
    if (riff, kind, chunk, data) != (b"RIFF", b"WAVE", b"fmt ", b"data"):
        raise ConfigError(f"espeak-ng wrote no WAV file but {wav[:_HEADER_BYTES]!r}; is it really espeak-ng?")
    return rate_hz
