"""Whole conversations: the real daemon as a process, WAV files as sound card, the rehearsal server as voice agent."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipit.audio.wav import read_wav
from pipit.core.pcm import Resampler
from pipit.rehearsal import Misbehaviour, Rehearsal
from tests import speech
from tests.daemon import Daemon, configuration, put_into_microphone
from tests.microphone import Microphone

RATE_HZ = 48000
HEY = speech.say("hey jarvis", rate_hz=RATE_HZ)
CALL = speech.say("hey jarvis", "flite:slt", rate_hz=RATE_HZ)
"""Is heard wherever it falls in the wake word engine's frames of 80 ms, as HEY is not."""

TIME = speech.say("what time is it", rate_hz=RATE_HZ)
STORY = speech.say("tell me a long story", rate_hz=RATE_HZ)

BUSY_S = 4.0
"""What a machine that has much else to do may add; less than any deadline for a service that does not answer."""


def one_breath(*clips: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.concatenate(clips)


def loud(samples: NDArray[np.int16], window: int) -> NDArray[np.bool_]:
    """Return for each window whether something can be heard in it (peak above -50 dBFS)."""
    whole = samples[: len(samples) // window * window].reshape(-1, window)
    return np.asarray(np.abs(whole.astype(np.int32)).max(axis=1) > 104)


def ask(at_s: float = 1.5, clip: NDArray[np.int16] = TIME) -> list[tuple[float, NDArray[np.int16]]]:
    return [(at_s, one_breath(HEY, clip))]


@pytest.mark.parametrize("provider", ["openai", "assemblyai"])
async def test_a_question_in_one_breath_with_the_wake_word_is_answered_aloud(tmp_path: Path, provider: str) -> None:
    put_into_microphone(tmp_path, ask(), seconds=5)
    async with asyncio.timeout(60), Rehearsal() as server:
        async with Daemon(configuration(tmp_path, server.url(provider), provider), tmp_path) as daemon:
            await daemon.until("wake")
            turn = await daemon.until("turn")
            await daemon.until("state", state="idle", previous="listening")
            assert [r["state"] for r in daemon.of("state")] == [
                "idle", "connecting", "listening", "hearing", "thinking", "speaking", "listening", "idle",
            ]  # fmt: skip
        assert daemon.noise == []
    assert server.connections == 1
    [session] = server.sessions
    assert any("time" in text for text in session.heard)
    assert turn["end_of_speech_to_audible_ms"] > 0
    assert turn["reply_ms"] > 500
    played, rate_hz = read_wav(tmp_path / "played.wav")
    heard_s = loud(played[:, 0], rate_hz // 50).sum() / 50
    assert heard_s > turn["reply_ms"] / 1000 * 0.6, "the reply is not in the WAV"


@pytest.mark.parametrize("delay_s", [0.0, 0.3, 2.0])
async def test_nothing_said_after_the_wake_word_is_lost_while_connecting(tmp_path: Path, delay_s: float) -> None:
    """The server compares what it received with what was said, sample by sample."""
    question = one_breath(TIME, TIME[: RATE_HZ // 2])
    put_into_microphone(tmp_path, ask(clip=question), seconds=7)
    async with asyncio.timeout(60), Rehearsal(misbehave=Misbehaviour(connect_delay_s=delay_s)) as server:
        async with Daemon(configuration(tmp_path, server.url("openai")), tmp_path) as daemon:
            await daemon.until("state", state="speaking")
        [session] = server.sessions
    said, _ = read_wav(tmp_path / "heard.wav")
    end_of_wake_word = round(1.5 * RATE_HZ) + len(HEY)
    expected = at_24_khz(said[end_of_wake_word : end_of_wake_word + len(question), 0])
    received = np.frombuffer(bytes(session.received), "<i2")
    lag, likeness = align(received, expected)
    assert lag >= 0, f"{-lag / 24:.0f} ms of speech after the wake word are missing"
    assert likeness > 0.98, f"what arrived is not what was said (correlation {likeness:.3f})"
    # Every 20 ms of it, so that a hole or a repetition shows.
    for start in range(0, len(expected) - 480, 480):
        want, got = expected[start : start + 480].astype(float), received[lag + start : lag + start + 480].astype(float)
        if np.sqrt(np.mean(want**2)) > 300:
            assert np.dot(want, got) / (np.linalg.norm(want) * np.linalg.norm(got)) > 0.9, f"damaged {start / 24:.0f} ms in"


def at_24_khz(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return what the uplink makes of microphone samples: 16 kHz content at 24 kHz."""
    return Resampler(16000, 24000).process(Resampler(RATE_HZ, 16000).process(samples))


def align(received: NDArray[np.int16], expected: NDArray[np.int16]) -> tuple[int, float]:
    """Return where in `received` (samples; may be negative) `expected` begins, and how alike they are, 0 to 1."""
    size = 1 << (len(received) + len(expected)).bit_length()
    product = np.fft.irfft(np.fft.rfft(received, size) * np.conj(np.fft.rfft(expected, size)), size)
    lag = int(np.argmax(product))
    lag = lag - size if lag > size // 2 else lag
    part = received[max(lag, 0) : lag + len(expected)].astype(float)
    want = expected[max(-lag, 0) :][: len(part)].astype(float)
    return lag, float(np.dot(part, want) / (np.linalg.norm(part) * np.linalg.norm(want)))


async def test_the_button_silences_a_reply_and_the_service_learns_how_much_was_heard(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, ask(clip=STORY), seconds=5)
    async with asyncio.timeout(60), Rehearsal() as server:
        async with Daemon(configuration(tmp_path, server.url("openai")), tmp_path) as daemon:
            speaking = await daemon.until("state", state="speaking")
            await asyncio.sleep(2.0)  # the person listens for a while
            daemon.press()
            turn = await daemon.until("turn")
            await daemon.until("state", state="listening", previous="speaking")
            await daemon.until("state", state="idle", previous="listening")
        [session] = server.sessions
    assert speaking["previous"] == "thinking"
    assert turn["interrupted"] is True
    assert 1500 < turn["reply_ms"] < 3500
    kinds = [message["type"] for message in session.messages]
    assert "response.cancel" in kinds
    [truncate] = [message for message in session.messages if message["type"] == "conversation.item.truncate"]
    assert truncate["audio_end_ms"] == turn["reply_ms"]
    played, rate_hz = read_wav(tmp_path / "played.wav")
    sounding = np.flatnonzero(loud(played[:, 0], rate_hz // 100))
    # Cues apart, the story is the one long sound; nothing of it follows the interruption.
    story = [run for run in np.split(sounding, np.flatnonzero(np.diff(sounding) > 50) + 1) if len(run) > 100]
    assert len(story) == 1
    assert (story[0][-1] - story[0][0]) / 100 < turn["reply_ms"] / 1000 + 0.2


async def test_a_second_press_ends_the_conversation(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=1)
    async with asyncio.timeout(60), Rehearsal() as server:
        async with Daemon(configuration(tmp_path, server.url("openai"), conversation={"idle_s": 60}), tmp_path) as daemon:
            await daemon.until("ready")
            daemon.press()
            await daemon.until("state", state="listening")
            daemon.press()
            await daemon.until("state", state="idle", previous="listening")
        assert server.connections == 1


async def test_the_wake_word_interrupts_a_reply_and_what_follows_it_is_heard(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=30)
    microphone = Microphone(tmp_path / "microphone")
    async with asyncio.timeout(60), Rehearsal() as server:
        async with Daemon(configuration(tmp_path, server.url("openai")), tmp_path, microphone=microphone) as daemon:
            await daemon.until("ready")
            await microphone.hears(one_breath(CALL, STORY))
            await daemon.until("state", state="speaking")
            await microphone.hears(one_breath(CALL, TIME))
            await daemon.until("state", state="listening", previous="speaking")
            second = await daemon.until("turn", turn=2)
        [session] = server.sessions
    assert [turn["interrupted"] for turn in daemon.of("turn")] == [True, False]
    assert second["reply_ms"] > 500
    assert len(daemon.of("wake")) == 2
    assert any("time" in text for text in session.heard)


async def test_the_story_is_not_interrupted_by_itself_in_half_duplex(tmp_path: Path) -> None:
    """Somebody talks during the reply, and echo cancelling is off: the service hears silence."""
    chatter = speech.say("and then we went to the market and bought some apples", rate_hz=RATE_HZ)
    put_into_microphone(tmp_path, ask(clip=STORY), seconds=30)
    microphone = Microphone(tmp_path / "microphone")
    async with asyncio.timeout(60), Rehearsal() as server:
        async with Daemon(configuration(tmp_path, server.url("openai")), tmp_path, microphone=microphone) as daemon:
            await daemon.until("state", state="speaking")
            await microphone.hears(chatter)
            assert daemon.of("state")[-1]["state"] == "speaking"
        [session] = server.sessions
    received = np.frombuffer(bytes(session.received), "<i2")
    assert not loud(received[-24000:], 480).any()


@pytest.mark.parametrize("moment", ["starting", "idle", "connecting", "listening", "speaking"])
async def test_sigterm_ends_it_soon_in_any_state_with_a_goodbye(tmp_path: Path, moment: str) -> None:
    put_into_microphone(tmp_path, ask(clip=STORY), seconds=5)
    faults = Misbehaviour(stall_at_ready=True) if moment == "connecting" else None
    async with asyncio.timeout(60), Rehearsal(misbehave=faults) as server:
        config = configuration(tmp_path, server.url("openai"))
        if moment == "starting":
            config["audio"] = {"backend": "portaudio", "input": {"device": "a microphone that is not there"}}
        async with Daemon(config, tmp_path) as daemon:
            await (daemon.until("device_missing") if moment == "starting" else daemon.until("state", state=moment))
            assert await daemon.stop() < 2.0 + BUSY_S
            assert daemon.process.returncode == 0
        if moment in ("listening", "speaking"):
            await until(lambda: server.sessions[0].closed is not None)
            assert server.sessions[0].closed[0] in (1000, 1001)
    if moment == "speaking":
        assert [turn["interrupted"] for turn in daemon.of("turn")] == [True]


async def until(condition: Any) -> None:
    """Wait for something in this process; the test's own timeout ends it."""
    while not condition():  # noqa: ASYNC110 (it may be anything)
        await asyncio.sleep(0.01)


async def test_held_it_mutes_and_nothing_is_captured(tmp_path: Path) -> None:
    put_into_microphone(tmp_path, [], seconds=30)
    microphone = Microphone(tmp_path / "microphone")
    async with asyncio.timeout(60), Daemon(configuration(tmp_path), tmp_path, microphone=microphone) as daemon:
        await daemon.until("ready")
        daemon.hold()
        await daemon.until("state", state="muted")
        await microphone.hears(CALL)
        daemon.hold()
        await daemon.until("state", state="idle", after=len(daemon.records))
        assert daemon.of("wake") == []
        await microphone.hears(CALL)
        await daemon.until("wake")
    assert len(daemon.of("wake")) == 1
