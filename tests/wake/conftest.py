from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.speech import Samples, level, missing_tools, noise, say
from tests.wake import stock

WORDS = ("hey jarvis", "alexa", "hey mycroft", "okay nabu")
SENTENCES = (
    "The small brown bird of open country sings while it climbs, and falls silent when it comes down.",
    "What will the weather be like in London tomorrow morning, and do I need an umbrella?",
    "Please set a timer for twelve minutes, and remind me to take the bread out of the oven.",
)
VOICES = ("en-gb", "en-us-nyc", "en-gb-x-rp", "en-us+f3", "flite:slt", "flite:rms", "flite:kal16")


@pytest.fixture(scope="session")
def stock_package() -> Path:
    """The folder that holds the unpacked openwakeword package."""
    try:
        return stock.package()
    except stock.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def stock_models() -> Path:
    """The folder of its ONNX models."""
    try:
        return stock.models()
    except stock.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def openwakeword_0_4() -> Iterator[ModuleType]:
    """The unpacked openwakeword package."""
    yield from _imported("0.4.0")


@pytest.fixture
def openwakeword_0_6() -> Iterator[ModuleType]:
    """The same, its last release."""
    yield from _imported("0.6.0")


def _imported(version: str) -> Iterator[ModuleType]:
    try:
        stock.package(version)
    except stock.Unavailable as error:
        pytest.skip(str(error))
    with stock.imported(version) as module:
        yield module


@pytest.fixture(scope="session")
def sounds() -> Samples:
    """70 s of everything: silence, noise from faint to clipped, wake words, other speech, chords, clicks."""
    reason = missing_tools()
    if reason:
        pytest.skip(reason)
    gap = noise(0.7, dbfs=-62, seed=7)
    parts = [np.zeros(40000, np.int16), noise(2.0, dbfs=-80), noise(2.0, dbfs=-30, kind="white"), noise(1.5, dbfs=-3, kind="pink")]
    for index, voice in enumerate(VOICES):
        for word in WORDS:
            parts += [gap, say(word, voice, pitch=20 + 10 * index, dbfs=-26 - 5 * (index % 4))]
        parts += [gap, say(SENTENCES[index % len(SENTENCES)], voice, speed=150 + 10 * index)]
    time = np.arange(64000) / 16000
    chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (220.0, 277.2, 329.6, 1760.0))
    clicks = np.zeros(32000, np.int16)
    clicks[::4001] = 32767
    parts += [level(np.asarray(chord), -20), clicks, np.full(8000, -32768, np.int16), np.zeros(16000, np.int16)]
    return np.concatenate(parts)
