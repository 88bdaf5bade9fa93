"""The promise: nothing leaves the device before the wake word. Watched from outside, at the system calls."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from pathlib import Path

from tests import speech
from tests.daemon import Daemon, configuration, put_into_microphone

OTHER_SPEECH = (
    "The kettle is on the stove and the bread is in the oven.",
    "Did you hear what the neighbours said about the garden fence?",
    "Jarvis is the name of the butler in that film, is it not?",
    "Hello Jack, could you hand me the salt, please.",
    "Tomorrow it will rain, they say, but the day after will be fine.",
)


def internet(trace: str) -> list[str]:
    """Return the system calls that make or use an internet socket, or ask the kernel for routes."""
    return [line for line in trace.splitlines() if re.search(r"AF_INET|AF_INET6|AF_NETLINK|AF_PACKET", line)]


async def test_a_minute_of_other_speech_opens_no_socket_and_the_wake_word_opens_one(tmp_path: Path) -> None:
    clips, at = [], 1.0
    for n in range(14):
        clip = speech.say(OTHER_SPEECH[n % len(OTHER_SPEECH)], voice=("en-gb", "en-us", "flite:slt")[n % 3], rate_hz=48000)
        clips.append((at, clip))
        at += len(clip) / 48000 + 1.5
    assert at > 60
    calls = tmp_path / "strace.txt"
    watch = ("strace", "-f", "-qq", "-ttt", "-e", "trace=%network", "-o", str(calls))
    # A name, so that a look-up would show as well. The port has no meaning: nobody will get that far.
    settings = configuration(tmp_path, "wss://agent.invalid/v1/realtime", audio={"pace": "fast"})
    settings["service"]["api_key"] = "!env PIPIT_TEST_KEY"
    hey = speech.say("hey jarvis", rate_hz=48000)
    put_into_microphone(tmp_path, [*clips, (at + 3, hey)], seconds=at + 6)
    async with asyncio.timeout(120), Daemon(settings, tmp_path, {"PIPIT_TEST_KEY": "k"}, under=watch) as daemon:
        wake = await daemon.until("wake", timeout_s=90)
        await daemon.until("fault")
    assert wake["at_s"] > at + 3, "the wake word was heard in the other speech"
    woken_at = datetime.fromisoformat(wake["time"]).timestamp()
    calls_before = [call for call in internet(calls.read_text()) if float(call.split()[1]) < woken_at]
    assert calls_before == []
    assert internet(calls.read_text()), "the look-up after the wake word was not seen: this test sees nothing"
