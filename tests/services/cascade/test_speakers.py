"""Speaking on this device: espeak-ng, and a program that is called like Piper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from pipit.core.pcm import dbfs
from pipit.errors import ConfigError
from pipit.offline.espeak import synthesise
from pipit.services.cascade import Speak, StageError, espeak_speak, piper_speak
from pipit.services.cascade.settings import Settings, SpeakSettings
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

PIPER = """#!/bin/sh
[ "$1 $2 $3 $4" = "--model {model} --output-raw --length-scale" ] || exit 3
read -r line
espeak-ng -v en-gb -s 165 --stdout -- "$line" | tail -c +45
"""
"""Takes what Piper takes and writes what Piper writes, in another voice."""


async def said(*sentences: str) -> AsyncIterator[str]:
    for sentence in sentences:
        yield sentence


async def spoken(stage: Speak, *sentences: str) -> tuple[bytes, list[int]]:
    async with asyncio.timeout(20):
        sounds = [sound async for sound in stage.speak(said(*sentences))]
    return b"".join(sound.pcm for sound in sounds), [sound.spoken for sound in sounds if sound.spoken is not None]


async def test_espeak_speaks_sentence_after_sentence() -> None:
    stage = espeak_speak.build(Settings())
    await stage.open()
    pcm, ends = await spoken(stage, "Good morning.", " How are you?")
    whole = [synthesise(sentence, stage.rate_hz) for sentence in ("Good morning.", "How are you?")]
    assert pcm == b"".join(sound.tobytes() for sound in whole)
    assert ends == [13, 26]
    await stage.release()


async def test_espeak_speaks_faster_and_in_other_voices() -> None:
    plain, _ = await spoken(espeak_speak.build(Settings()), "Good morning, everybody.")
    fast, _ = await spoken(espeak_speak.build(Settings(speak=SpeakSettings(speed=1.8))), "Good morning, everybody.")
    other, _ = await spoken(espeak_speak.build(Settings(voice="en-us+f3")), "Good morning, everybody.")
    assert len(fast) < 0.8 * len(plain)
    assert other != plain


async def test_a_voice_that_is_not_there_is_told() -> None:
    with pytest.raises(StageError, match=r"voice nonsense; check service\.voice") as error:
        await spoken(espeak_speak.build(Settings(voice="nonsense")), "Good morning.")
    assert error.value.kind == "config"


def test_without_espeak_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match=r"service\.speak\.engine: .*apt install espeak-ng"):
        espeak_speak.build(Settings())


@pytest.fixture
def voice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    model = tmp_path / "voice.onnx"
    model.touch()
    (tmp_path / "voice.onnx.json").write_text('{"audio": {"sample_rate": 22050}}')
    program = tmp_path / "piper"
    program.write_text(PIPER.format(model=model))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return model


async def test_piper_speaks(voice: Path) -> None:
    stage = piper_speak.build(Settings(speak=SpeakSettings(model=str(voice))))
    pcm, ends = await spoken(stage, "Good morning.", " How are\nyou?")
    assert ends == [13, 26]
    assert len(pcm) / 2 / stage.rate_hz == pytest.approx(2.0, abs=0.7)
    assert dbfs(np.frombuffer(pcm, "<i2")) > -30


async def test_who_stops_listening_ends_the_program(voice: Path) -> None:
    voice.with_name("piper").write_text("#!/bin/sh\nread -r line\nhead -c 100000 /dev/zero\nexec sleep 1000\n")
    stage = piper_speak.build(Settings(speak=SpeakSettings(model=str(voice))))
    async with asyncio.timeout(20):
        sounds = stage.speak(said("Good morning."))
        await anext(sounds)
        await sounds.aclose()


async def test_a_program_that_says_nothing_is_told(voice: Path) -> None:
    voice.with_name("piper").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(StageError, match=r"piper made no sound; check service\.speak\.model"):
        await spoken(piper_speak.build(Settings(speak=SpeakSettings(model=str(voice)))), "Good morning.")


def test_what_piper_needs_is_told(voice: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="Piper needs the path of a voice"):
        piper_speak.build(Settings())
    with pytest.raises(ConfigError, match=r'there is no file "/nowhere\.onnx"'):
        piper_speak.build(Settings(speak=SpeakSettings(model="/nowhere.onnx")))
    voice.with_name("voice.onnx.json").write_text("[]")
    with pytest.raises(ConfigError, match="does not tell the sample rate"):
        piper_speak.build(Settings(speak=SpeakSettings(model=str(voice))))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="the program piper is not installed"):
        piper_speak.build(Settings(speak=SpeakSettings(model=str(voice))))
