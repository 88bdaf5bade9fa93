"""What is wrong with the configuration, the service or the way to it: each is told in one clear line, and the next call works."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

import numpy as np
import pytest

from pipit.audio.wav import read_wav
from pipit.rehearsal import Misbehaviour, Rehearsal
from tests import speech
from tests.daemon import Daemon, RecordLine, configuration, put_into_microphone

RATE_HZ = 48000
QUESTION = np.concatenate([speech.say("hey jarvis", rate_hz=RATE_HZ), speech.say("what time is it", rate_hz=RATE_HZ)])

# -- the configuration: everything at once, and exit status 2 ----------------------------------------------------------------------


async def checked(folder: Path, text: str) -> list[str]:
    """Return what `pipit check` says of a file; it must say no."""
    (folder / "pipit.yaml").write_text(text)
    daemon = Daemon(configuration(folder), folder)
    (folder / "pipit.yaml").write_text(text)
    status, said = await daemon.command("check", "--config", str(folder / "pipit.yaml"))
    assert status == 2, said
    return said.splitlines()


BASE = "service: {provider: openai, url: 'ws://127.0.0.1:9/v1/realtime'}\n"


async def test_mistakes_are_told_together_with_line_path_and_remedy(tmp_path: Path) -> None:
    said = await checked(tmp_path, BASE + "audio:\n  output:\n    volum: 40\n    rate: loud\nbuton: {}\n")
    file = re.escape(str(tmp_path / "pipit.yaml"))
    for expected in (
        rf'{file}:4: audio\.output\.volum: .*did you mean "volume"',
        rf"{file}:5: audio\.output\.rate: .*auto",
        rf'{file}:6: buton: .*did you mean "button"',
    ):
        assert any(re.match(expected, line) for line in said), (expected, said)
    assert len(said) == 3


async def test_a_missing_model_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    [said] = await checked(tmp_path, BASE + "wake:\n  words:\n    - {model: hey_jarvas}\n")
    assert ":4: wake.words[0].model" in said
    assert "hey_jarvas" in said
    assert "hey_jarvis" in said


async def test_a_model_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.tflite").write_bytes(b"no model at all" * 100)
    [said] = await checked(tmp_path, BASE + f"wake:\n  words:\n    - {{model: {tmp_path}/mine.tflite}}\n")
    assert "mine.tflite" in said


@pytest.mark.parametrize("content", [None, b"", b"RIFF\0\0\0\0WAVEjunk", b"\xff" * 4000])
async def test_a_sound_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "bing.wav").write_bytes(content)
    [said] = await checked(tmp_path, BASE + f"sounds: {{wake: {tmp_path}/bing.wav}}\n")
    assert "bing.wav" in said
    assert ":2: sounds.wake" in said


async def test_the_daemon_refuses_to_start_with_status_2_so_that_systemd_lets_it_rest(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=1)
    config = configuration(tmp_path)
    config["audio"]["output"]["volume"] = "loud"
    async with asyncio.timeout(30), Daemon(config, tmp_path) as daemon:
        assert await daemon.process.wait() == 2
    assert any("audio.output.volume" in line for line in daemon.noise), daemon.log()


# -- the service: FAULT, one line, and ready for the next call ---------------------------------------------------------------------


async def fails_and_recovers(folder: Path, url: str, server: Rehearsal | None, provider: str = "openai") -> RecordLine:
    """Call twice: the first must end in FAULT with one error, the second must be answered if there is a server."""
    put_into_microphone(folder, [], seconds=1)
    config = configuration(folder, url, service={"provider": provider, "connect_s": 3})
    async with asyncio.timeout(60), Daemon(config, folder) as daemon:
        await daemon.until("ready")
        daemon.press()
        error = await daemon.until("fault")
        await daemon.until("state", state="fault")
        assert [r for r in daemon.records if r["level"] == "error"] == [error]
        before = len(daemon.records)
        daemon.press()
        await daemon.until("fault" if server is None else "session", after=before)
        assert daemon.noise == []
    return error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_a_port_that_nobody_listens_on(tmp_path: Path) -> None:
    port = free_port()
    error = await fails_and_recovers(tmp_path, f"ws://127.0.0.1:{port}/v1/realtime", None)
    assert error["message"] == f"127.0.0.1 refused the connection: nothing listens on port {port}, see service.url"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Misbehaviour(refuse_key=True, sessions=1), "key"),
        (Misbehaviour(refuse_upgrade=403, sessions=1), "403"),
        (Misbehaviour(stall_at_ready=True, sessions=1), "3"),
    ],
    ids=["wrong key", "refused upgrade", "no answer"],
)
@pytest.mark.parametrize("provider", ["openai", "assemblyai"])
async def test_a_service_that_refuses(tmp_path: Path, provider: str, fault: Misbehaviour, words: str) -> None:
    async with Rehearsal(misbehave=fault) as server:
        error = await fails_and_recovers(tmp_path, server.url(provider), server, provider=provider)
    assert words in error["message"]


# -- a service that sends what it should not: the conversation goes on -------------------------------------------------------------


@pytest.mark.parametrize("provider", ["openai", "assemblyai"])
async def test_through_rubbish_odd_bytes_and_a_burst_the_answer_is_heard(tmp_path: Path, provider: str) -> None:
    fault = Misbehaviour(
        rubbish_text=True, rubbish_binary=True, malformed_json=True, unknown_events=True, odd_bytes=True, flood=True
    )
    put_into_microphone(tmp_path, [(1.5, QUESTION)], seconds=5)
    async with asyncio.timeout(60), Rehearsal(misbehave=fault) as server:
        async with Daemon(configuration(tmp_path, server.url(provider), provider), tmp_path) as daemon:
            turn = await daemon.until("turn")
            await daemon.until("state", state="idle", previous="listening")
        assert daemon.noise == []
    assert turn["reply_ms"] > 500
    assert turn["gaps"] == 0
    assert clicks(tmp_path / "played.wav") == 0, "samples were cut in two or swapped"


def clicks(path: Path) -> int:
    """Count samples that leap by more than half of full scale, as speech at this volume never does and torn samples always do."""
    samples, _ = read_wav(path)
    return int((np.abs(np.diff(samples[:, 0].astype(np.int32))) > 16384).sum())


async def test_a_message_of_100_mb_is_not_taken_in(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=1)
    async with (
        asyncio.timeout(60),
        Rehearsal(misbehave=Misbehaviour(huge_message_mb=100, sessions=1)) as server,
        Daemon(configuration(tmp_path, server.url("openai")), tmp_path) as daemon,
    ):
        await daemon.until("ready")
        daemon.press()
        error = await daemon.until("fault")
        peak_kb = highest_memory_kb(daemon.process.pid)
        daemon.press()
        await daemon.until("session")
    assert "larger than Pipit accepts (16 MiB)" in error["message"]
    assert peak_kb < 150_000


def highest_memory_kb(process: int) -> int:
    return next(int(line.split()[1]) for line in Path(f"/proc/{process}/status").read_text().splitlines() if "VmHWM" in line)
