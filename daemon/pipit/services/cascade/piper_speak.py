"""Speaks with Piper, a program on this device: a natural voice, a second or two a sentence on a Raspberry Pi 4."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

from pipit.core.pcm import Joiner, Resampler
from pipit.errors import ConfigError
from pipit.services.cascade import Sample, Sound, Speak, StageError
from pipit.services.cascade.settings import Settings

PROGRAM = "piper"
RATE_HZ = 22050
"""Of the voices of medium and high quality; others are converted."""

_READ_BYTES = 8192


def build(settings: Settings) -> Speak:
    """Return the stage.

    Raises:
        ConfigError: Piper or its voice is not there.
    """
    program, model = shutil.which(PROGRAM), settings.speak.model
    if model is None:
        raise ConfigError("service.speak.model: Piper needs the path of a voice, a file NAME.onnx with NAME.onnx.json beside it")
    wrong = []
    if program is None:
        wrong.append(f"service.speak.engine: the program {PROGRAM} is not installed")
    if not os.path.isfile(model):
        wrong.append(f'service.speak.model: there is no file "{model}"')
    rate_hz = _rate_hz(Path(f"{model}.json"), wrong)
    if wrong or program is None:
        raise ConfigError(*wrong)
    return PiperSpeak([program, "--model", model, "--output-raw", "--length-scale", f"{1 / settings.speak.speed:.3f}"], rate_hz)


def _rate_hz(description: Path, wrong: list[str]) -> int:
    try:
        rate_hz = json.loads(description.read_bytes())["audio"]["sample_rate"]
    except (OSError, ValueError, KeyError, TypeError):
        rate_hz = None
    if not isinstance(rate_hz, int) or not 8000 <= rate_hz <= 96000:
        wrong.append(f'service.speak.model: "{description}" does not tell the sample rate of a voice')
        return RATE_HZ
    return rate_hz


class PiperSpeak:
    """See `Speak`.

    Args:
        command: what writes raw sound for a line of text on its standard input.
        rate_hz: of that sound.
    """

    rate_hz = RATE_HZ

    def __init__(self, command: list[str], rate_hz: int) -> None:
        self._command = command
        self._rate_hz = rate_hz

    async def open(self) -> None:
        """Nothing is to be opened."""

    async def release(self) -> None:
        """Nothing is open."""

    async def speak(self, text: AsyncIterator[str], like: Sample | None = None) -> AsyncGenerator[Sound, None]:
        """See `Speak.speak`; one process for each sentence."""
        spoken = 0
        async for sentence in text:
            async with aclosing(self._sentence(" ".join(sentence.split()))) as pieces:
                async for pcm in pieces:
                    yield Sound(pcm)
            spoken += len(sentence)
            yield Sound(b"", spoken)

    async def _sentence(self, sentence: str) -> AsyncGenerator[bytes, None]:
        joiner, resampler = Joiner(), Resampler(self._rate_hz, RATE_HZ)
        try:
            process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)
        except OSError as error:
            raise StageError("config", f"{PROGRAM} cannot be run ({error.strerror})") from error
        assert process.stdin is not None
        assert process.stdout is not None
        made = ended = False
        try:
            process.stdin.write(sentence.encode() + b"\n")
            process.stdin.close()
            while pcm := await process.stdout.read(_READ_BYTES):
                made = True
                yield resampler.process(joiner.feed(pcm)).tobytes()
            ended = True
        finally:
            if not ended:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()
        if not made:
            raise StageError("config", f"{PROGRAM} made no sound; check service.speak.model")
