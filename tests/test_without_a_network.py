"""The whole daemon with provider local: a conversation, an interruption, a timer, and not one internet socket at any time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pipit.services.cascade.offline_think import STANDS_IN
from pipit.services.cascade.skills import HELP
from tests import speech
from tests.daemon import Daemon, configuration, put_into_microphone
from tests.microphone import Microphone
from tests.test_promise import internet

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))


async def test_a_conversation_uses_no_internet_socket(tmp_path: Path) -> None:
    calls = tmp_path / "strace.txt"
    watch = ("strace", "-f", "-qq", "-e", "trace=socket,connect,bind,sendto,sendmsg,sendmmsg", "-o", str(calls))
    settings = configuration(tmp_path, conversation={"idle_s": 7})
    settings["service"] = {"provider": "local"}
    hey = speech.say("hey jarvis, set a timer for two seconds", speed=150, rate_hz=48000)
    question = speech.say("what can you do", rate_hz=48000)
    put_into_microphone(tmp_path, [(1.0, hey)], seconds=40)
    microphone = Microphone(tmp_path / "microphone")
    async with asyncio.timeout(100), Daemon(settings, tmp_path, under=watch, microphone=microphone) as daemon:
        await daemon.until("wake")
        first = await daemon.until("turn", timeout_s=60)
        assert [record["text"] for record in daemon.of("heard")] == ["set a timer for two seconds"]
        assert "The timer is set for 2 seconds." in [record["text"] for record in daemon.of("said")]
        assert first["reply_ms"] > 1000
        assert not first["interrupted"]
        await daemon.until("timer", timeout_s=30)
        await daemon.until("state", state="listening", after=daemon.records.index(first), timeout_s=30)
        await microphone.hears(question)
        await daemon.until("heard", text="what can you do", timeout_s=60)
        await daemon.until("state", state="speaking", after=len(daemon.records) - 1, timeout_s=60)
        daemon.press()
        await daemon.until("turn", interrupted=True, timeout_s=60)
        assert daemon.noise == []
    assert internet(calls.read_text()) == []
    assert "AF_UNIX" in calls.read_text(), "not even the control socket was seen: this test sees nothing"


async def test_where_a_service_cannot_be_reached_the_device_answers_by_itself_and_says_why(tmp_path: Path) -> None:
    settings = configuration(tmp_path)
    settings["service"] = [{"provider": "openai", "url": "ws://127.0.0.1:9/v1"}, {"provider": "local"}]  # nobody listens there
    hey = speech.say("hey jarvis, what can you do", speed=150, rate_hz=48000)
    put_into_microphone(tmp_path, [(1.0, hey)], seconds=30)
    async with asyncio.timeout(100), Daemon(settings, tmp_path) as daemon:
        await daemon.until("state", state="speaking", timeout_s=60)
        await daemon.until("said", timeout_s=60)
        assert [record["text"] for record in daemon.of("heard")] == ["what can you do"]
        assert [record["text"] for record in daemon.of("said")] == [f"{STANDS_IN} {HELP}"]
        assert daemon.noise == []
