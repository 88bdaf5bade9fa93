"""The running daemon, steered by the commands that its owner types."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import numpy as np

from pipit.audio.wav import read_wav
from pipit.rehearsal import Rehearsal
from tests import speech
from tests.daemon import Daemon, configuration, put_into_microphone

STORY = np.concatenate([speech.say("hey jarvis", rate_hz=48000), speech.say("tell me a long story", rate_hz=48000)])


async def test_status_volume_and_mute(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=1)
    async with asyncio.timeout(60), Daemon(configuration(tmp_path), tmp_path) as daemon:
        await daemon.until("ready")
        status = json.loads((await daemon.command("status", "--json"))[1])
        assert (status["state"], status["volume"], status["conversations"]) == ("idle", 60, 0)
        assert await daemon.command("volume", "25") == (0, "25\n")
        assert await daemon.command("volume") == (0, "25\n")
        code, said = await daemon.command("volume", "101")
        assert (code, said) == (1, "pipit: volume 101.0: expected a number from 0 to 100\n")
        await daemon.command("mute")
        await daemon.until("state", state="muted")
        await daemon.command("mute")  # says what it shall be, so twice is once
        muted = len(daemon.records)
        await daemon.command("unmute")
        await daemon.until("state", state="idle", after=muted)
        assert len(daemon.of("state", state="muted")) == 1
        code, said = await daemon.command("interrupt")
        assert code == 1
        assert "no reply to interrupt: Pipit is waiting for the wake word" in said
    code, said = await daemon.command("status")
    assert code == 1
    assert "not running" in said


async def test_a_changed_volume_is_applied_in_mid_reply_and_the_conversation_goes_on(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [(1.5, STORY)], seconds=5)
    async with asyncio.timeout(60), Rehearsal() as server:
        config = configuration(tmp_path, server.url("openai"))
        async with Daemon(config, tmp_path) as daemon:
            await daemon.until("state", state="speaking")
            await asyncio.sleep(1.5)  # of the story, to be compared with what follows
            config["audio"]["output"]["volume"] = 30
            config["conversation"]["idle_s"] = 3
            daemon.configure(config)
            code, said = await daemon.command("reload")
            assert code == 0
            assert said == "audio.output.volume: changed\nconversation.idle_s: changes when Pipit is restarted\n"
            await asyncio.sleep(1.5)
            assert daemon.of("state")[-1]["state"] == "speaking"
            code, _ = await daemon.command("interrupt")
            assert code == 0
            await daemon.until("state", state="listening", previous="speaking")
        assert server.connections == 1
    played, rate_hz = read_wav(tmp_path / "played.wav")
    story = played[np.flatnonzero(np.abs(played[:, 0]) > 2000)[0] :, 0].astype(float)
    second = [np.sqrt(np.mean(story[at : at + rate_hz] ** 2)) for at in range(0, len(story) - rate_hz, rate_hz)]
    assert max(second) > 4 * min(level for level in second if level > 20), "60 % and 30 % are 18 dB apart"


async def test_a_mistake_in_the_file_changes_nothing_and_is_told(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=1)
    config = configuration(tmp_path)
    async with asyncio.timeout(60), Daemon(config, tmp_path) as daemon:
        await daemon.until("ready")
        config["audio"]["output"]["volume"] = 130
        daemon.configure(config)
        code, said = await daemon.command("reload")
        assert code == 1
        assert "audio.output.volume: 130" in said
        daemon.send_signal(signal.SIGHUP)
        await daemon.until("config", level="error")
        assert (await daemon.command("volume"))[1] == "60\n"
