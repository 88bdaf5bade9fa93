"""The network's library and the certificates are no part of the start: they are loaded once Pipit listens."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests import speech
from tests.daemon import Daemon, configuration, put_into_microphone

PROGRAM = """
import sys
from pipit import fetch
from pipit.core.options import Secret
from pipit.services import openai_realtime
opener = openai_realtime.build(openai_realtime.Settings(api_key=Secret("k"), url={url!r}))
def loaded(): return "websockets" in sys.modules, fetch.trusted.cache_info().currsize
print(loaded())
opener.prepare()
print(loaded())
"""


@pytest.mark.parametrize(("url", "certificates"), [("wss://service.example/v1", 1), ("ws://127.0.0.1:9", 0)])
def test_what_the_first_session_needs_is_loaded_when_it_is_prepared(url: str, certificates: int) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM.format(url=url)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["(False, 0)", f"(True, {certificates})"]


@pytest.mark.wall_clock
@pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))
async def test_the_daemon_prepares_its_services_once_it_is_ready(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=1)
    async with asyncio.timeout(60), Daemon(configuration(tmp_path), tmp_path, {"PYTHONPROFILEIMPORTTIME": "1"}) as daemon:
        await daemon.until("ready")
    assert any(line.endswith("| websockets.asyncio.client") for line in daemon.noise)
