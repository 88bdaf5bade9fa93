"""Hearing with Fish Audio, against the rehearsal."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import wave
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from pipit.core.options import Secret
from pipit.errors import ConfigError
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from pipit.services.cascade import Hear, StageError
from pipit.services.cascade.fish_hear import SHORTEST_S, build
from pipit.services.cascade.settings import HearSettings, Settings
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

KEY = "fish-test-0123456789"
ENCODINGS = ("msgpack", "multipart")


def settings(url: str, hear: dict[str, Any] | None = None, **common: Any) -> Settings:
    return Settings(**{"api_key": Secret(KEY), "hear": HearSettings(url=url, **(hear or {})), **common})


def utterance(text: str = "what time is it", seconds_after: float = 0.3) -> np.ndarray:
    clip = speech.say(text, voice="en-us")
    return speech.timeline([(0.2, clip)], 0.2 + len(clip) / 16000 + seconds_after)


@contextlib.asynccontextmanager
async def hearing(
    conduct: Conduct | None = None, read_s: float = 10, hear: Any = None, **faults: Any
) -> AsyncIterator[tuple[Rehearsal, Hear]]:
    async with (
        asyncio.timeout(30),
        Rehearsal(misbehave=Misbehaviour(**faults), conduct=conduct or Conduct(api_key=KEY)) as server,
    ):
        stage = build(settings(server.http, hear, connect_s=2, read_s=read_s))
        yield server, stage
        await stage.release()


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_an_utterance_becomes_text(encoding: str) -> None:
    async with hearing(hear={"encoding": encoding, "language": "en", "model": "transcribe-1"}) as (server, stage):
        await stage.open()
        sent = utterance(seconds_after=1)
        assert await stage.hear(sent) == "what time is it"
        [exchange] = server.exchanges
        assert exchange.headers["model"] == "transcribe-1"
        assert (exchange.asked["language"], exchange.asked["ignore_timestamps"]) == ("en", True)
        with wave.open(io.BytesIO(exchange.asked["audio"])) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
            assert file.readframes(len(sent)) == sent.astype("<i2").tobytes()
        assert server.connections == 1  # the one that was opened ahead


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_short_command_is_padded(encoding: str) -> None:
    async with hearing(hear={"encoding": encoding}) as (server, stage):
        sent = utterance("stop", seconds_after=0.1)
        assert len(sent) < 16000
        assert await stage.hear(sent) == "stop"
        with wave.open(io.BytesIO(server.exchanges[0].asked["audio"])) as file:
            assert file.getnframes() == round(SHORTEST_S * 16000)
        assert "language" not in server.exchanges[0].asked


async def test_silence_is_empty() -> None:
    async with hearing() as (_, stage):
        assert await stage.hear(speech.noise(1.5)) == ""
        assert await stage.hear(np.zeros(0, np.int16)) == ""


async def test_two_at_a_time() -> None:
    async with hearing() as (_, stage):
        await stage.open()
        assert await asyncio.gather(stage.hear(utterance()), stage.hear(utterance("stop"))) == ["what time is it", "stop"]


async def test_cancelling_drops_the_request() -> None:
    async with hearing(Conduct(hear_s=20)) as (server, stage):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await stage.hear(utterance())
    assert not server.exchanges[0].finished


# -- what can go wrong -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        ({"refuse_key": True}, "config", r"refused the key: HTTP 401 \(Invalid Token\); check service.hear.api_key"),
        ({"refuse_upgrade": 402}, "config", r"wants to be paid: HTTP 402 \(Insufficient credit\)"),
        ({"refuse_upgrade": 403}, "config", "refused the key: HTTP 403"),
        ({"refuse_upgrade": 404}, "config", "knows no such address or model"),
        ({"refuse_upgrade": 422}, "config", "refused the request: HTTP 422"),
        ({"refuse_upgrade": 429}, "retryable", "too many requests"),
        ({"refuse_upgrade": 503}, "retryable", "is in trouble: HTTP 503"),
        ({"rubbish_text": True}, "retryable", "something that is no transcript"),
        ({"rubbish_binary": True}, "retryable", "something that is no transcript"),
        ({"malformed_json": True}, "retryable", "something that is no transcript"),
        ({"huge_message_mb": 3}, "retryable", "longer than 1048576 bytes"),
        ({"drop_mid_reply": True}, "retryable", "cannot be reached|did not answer in HTTP"),
        ({"cut_mid_reply": True}, "retryable", "did not answer in HTTP"),
        ({"stall_mid_reply": True}, "retryable", "did not answer within 0.5 s"),
        ({"stall_after_accept": True}, "retryable", "did not answer within 0.5 s"),
        ({"stall_at_ready": True}, "retryable", "did not answer within 0.5 s"),
        ({"connect_delay_s": 3}, "retryable", "did not answer within 0.5 s"),
    ],
)
async def test_each_fault_is_told(faults: dict[str, Any], kind: str, words: str) -> None:
    read_s = 0.5 if "within" in words else 10
    async with hearing(read_s=read_s, **faults) as (_, stage):
        with pytest.raises(StageError, match=words) as error:
            await stage.hear(utterance())
        assert error.value.kind == kind
        assert KEY not in str(error.value)


@pytest.mark.parametrize("opened", [False, True])
async def test_nobody_listens(opened: bool) -> None:
    async with hearing() as (server, stage):
        if opened:
            await stage.open()
    async with asyncio.timeout(10):
        with pytest.raises(StageError, match="cannot be reached") as error:
            await stage.hear(utterance())
        assert error.value.kind == "retryable"
        with pytest.raises(StageError, match="cannot be reached"):
            await stage.open()
        await stage.release()
    assert server.exchanges == []


async def test_a_connection_that_died_is_replaced() -> None:
    async with hearing() as (server, stage):
        await stage.open()
        await server._send_away()
        assert await stage.hear(utterance()) == "what time is it"


# -- before there is a network -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"api_key": None, "hear": HearSettings()}, "service.api_key: Fish Audio needs a key"),
        ({"hear": HearSettings(url="http://fish.example")}, "service.hear.url: http:// is not encrypted"),
        ({"hear": HearSettings(url="wss://fish.example")}, "service.hear.url: begins with wss://"),
        ({"hear": HearSettings(url="fish")}, "service.hear.url: this is no address"),
        ({"api_key": Secret("a b"), "hear": HearSettings()}, "service.hear.api_key: the key is empty, or holds a blank"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Settings(**{"api_key": Secret(KEY), **given}))
    assert error.value.problems[0].startswith(problem)


def test_without_msgpack_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "msgpack", None)
    with pytest.raises(ConfigError, match="sudo make install EXTRAS=fish"):
        build(settings("http://127.0.0.1:1"))
    build(settings("http://127.0.0.1:1", {"encoding": "multipart"}))
