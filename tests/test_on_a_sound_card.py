"""A whole conversation through PyAudio, PortAudio and ALSA, on the virtual sound card."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.rehearsal import Rehearsal
from tests import speech
from tests.daemon import Daemon, configuration
from tests.room import Room

CALLER = "flite:slt"
"""Whose "hey jarvis" is heard wherever it falls in the wake word engine's frames of 80 ms; most of espeak-ng's are not."""

ROOMS = pytest.mark.parametrize("room", [48000, 16000], indirect=True, ids=lambda rate_hz: f"{rate_hz} Hz")


def question(rate_hz: int) -> NDArray[np.int16]:
    return np.concatenate([speech.say("hey jarvis", CALLER, rate_hz=rate_hz), speech.say("what time is it", rate_hz=rate_hz)])


@ROOMS
async def test_asked_in_one_breath_pipit_answers_and_a_press_silences_its_story(room: Room, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    config["audio"] = {"backend": "portaudio", "input": {"rate": room.rate_hz}, "output": {"rate": room.rate_hz}}
    config["conversation"]["idle_s"] = 20
    async with asyncio.timeout(100), Rehearsal() as server:
        config["service"]["url"] = server.url("openai")
        async with Daemon(config, tmp_path, room.environment) as daemon:
            await daemon.until("ready")
            room.play(question(room.rate_hz), room.rate_hz)
            await daemon.until("state", state="speaking")
            assert await asyncio.to_thread(room.hears_speech_within, 5)
            answered = await daemon.until("turn")
            assert answered["gaps"] == 0

            for _ in range(3):  # the rehearsal's recogniser is a small one, and a busy machine can put a hole into what it hears
                await asyncio.sleep(0.5)  # nobody answers more quickly
                before = len(daemon.records)
                room.say("tell me a long story", voice="en-gb")
                heard = await daemon.until("heard", after=before)
                speaking = await daemon.until("state", after=before, state="speaking")
                if "story" in heard["text"]:
                    break
                await daemon.until("turn", after=daemon.records.index(speaking))
            assert await asyncio.to_thread(room.hears_speech_within, 5)
            daemon.press()
            await daemon.until("turn", interrupted=True)
            await asyncio.sleep(1)  # what the card still holds, and then nothing more
            assert not await asyncio.to_thread(room.hears_speech_within, 2)
        assert daemon.noise == []
        [session] = server.sessions
        assert any("time" in text for text in session.heard), session.heard
        assert any("story" in text for text in session.heard), session.heard


@ROOMS
async def test_an_unplugged_card_is_waited_for(room: Room, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    config["audio"] = {"backend": "portaudio", "input": {"rate": room.rate_hz}, "output": {"rate": room.rate_hz}}
    async with asyncio.timeout(100), Rehearsal() as server:
        config["service"]["url"] = server.url("openai")
        async with Daemon(config, tmp_path, room.environment) as daemon:
            await daemon.until("ready")
            room.unplug()
            await daemon.until("device_lost")
            room.plug()
            await daemon.until("state", after=len(daemon.records), state="idle")
            began = time.monotonic()
            while not daemon.of("wake"):  # the room's own streams need a moment after the plugging in
                assert time.monotonic() < began + 30, daemon.log()
                await asyncio.to_thread(room.play(question(room.rate_hz), room.rate_hz).wait)
                await asyncio.sleep(1)
            await daemon.until("state", state="speaking")
