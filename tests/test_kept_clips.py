"""The daemon keeps what woke it, if its owner wants that, and the name of the file says what came of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipit import clips
from pipit.rehearsal import Rehearsal
from tests import speech
from tests.daemon import Daemon, configuration, put_into_microphone

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))


@pytest.mark.parametrize(
    ("keep", "said", "kinds"),
    [
        pytest.param(True, ("hey jarvis",), ["false"], id="nobody spoke"),
        pytest.param(True, ("hey jarvis", "what time is it"), ["heard"], id="somebody did"),
        pytest.param(False, ("hey jarvis",), [], id="not wanted"),
    ],
)
async def test_wakes_are_kept(tmp_path: Path, keep: bool, said: tuple[str, ...], kinds: list[str]) -> None:
    spoken = [(1.0 + 2.5 * index, speech.say(text, "flite:slt", rate_hz=48000)) for index, text in enumerate(said)]
    put_into_microphone(tmp_path, spoken, 6.0)
    kept = {"keep": keep, "folder": str(tmp_path / "kept")}
    async with asyncio.timeout(60), Rehearsal() as server:
        settings = configuration(tmp_path, server.url("openai"), near_misses=kept)
        async with Daemon(settings, tmp_path) as daemon:
            await daemon.until("state", state="idle", previous="listening", timeout_s=40)
    assert [clip.kind for clip in clips.read(tmp_path / "kept")] == kinds
    assert daemon.noise == []
