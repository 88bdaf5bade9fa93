"""Hearing with an OpenAI-compatible server, against the rehearsal."""

from __future__ import annotations

import asyncio
import contextlib
import io
import wave
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from pipit.core.options import Secret
from pipit.errors import ConfigError
from pipit.rehearsal import Conduct, Misbehaviour, Rehearsal
from pipit.services.cascade import Hear, StageError
from pipit.services.cascade.openai_hear import MODEL, SHORTEST_S, build
from pipit.services.cascade.settings import HearSettings, Settings
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

KEY = "sk-test-0123456789"


@contextlib.asynccontextmanager
async def hearing(hear: dict[str, Any] | None = None, read_s: float = 10, **faults: Any) -> AsyncIterator[tuple[Rehearsal, Hear]]:
    async with asyncio.timeout(30), Rehearsal(misbehave=Misbehaviour(**faults), conduct=Conduct(api_key=KEY)) as server:
        settings = HearSettings(url=f"{server.http}/v1/", api_key=Secret(KEY), **(hear or {}))
        stage = build(Settings(hear=settings, keyterms=("Pipit", "Riga"), connect_s=2, read_s=read_s))
        yield server, stage
        await stage.release()


def frames(server: Rehearsal) -> np.ndarray:
    with wave.open(io.BytesIO(server.exchanges[0].asked["file"])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


async def test_an_utterance_becomes_text() -> None:
    async with hearing({"language": "en"}) as (server, stage):
        await stage.open()
        clip = speech.say("what time is it", voice="en-us")
        sent = speech.timeline([(0.2, clip)], 0.6 + len(clip) / 16000)
        assert await stage.hear(sent) == "what time is it"
        assert np.array_equal(frames(server), sent)
        asked = server.exchanges[0].asked
        assert (asked["model"], asked["language"], asked["prompt"]) == (MODEL, "en", "Pipit, Riga")
        assert server.connections == 1  # the one that was opened ahead


async def test_a_very_short_sound_is_padded_on_both_sides() -> None:
    async with hearing() as (server, stage):
        sent = speech.say("up", speed=220)[:3000]
        await stage.hear(sent)
        padded = frames(server)
        assert len(padded) == round(SHORTEST_S * 16000)
        before = (len(padded) - len(sent)) // 2
        assert np.array_equal(padded[before : before + len(sent)], sent)
        assert "language" not in server.exchanges[0].asked


@pytest.mark.parametrize(
    ("faults", "kind", "words"),
    [
        ({"refuse_key": True}, "config", r"refused the key: HTTP 401 .*check service\.hear\.api_key"),
        ({"refuse_upgrade": 429}, "config", r"the account's limit at 127\.0\.0\.1 is reached: HTTP 429"),
        ({"refuse_upgrade": 503}, "retryable", "is in trouble: HTTP 503"),
        ({"malformed_json": True}, "retryable", "something that is no transcription"),
        ({"huge_message_mb": 3}, "retryable", "longer than 1048576 bytes"),
        ({"drop_mid_reply": True}, "retryable", "cannot be reached|did not answer in HTTP"),
        ({"stall_after_accept": True}, "retryable", "did not answer within 0.5 s"),
    ],
)
async def test_each_fault_is_told(faults: dict[str, Any], kind: str, words: str) -> None:
    async with hearing(read_s=0.5 if "within" in words else 10, **faults) as (_, stage):
        with pytest.raises(StageError, match=words) as error:
            await stage.hear(speech.say("what time is it"))
        assert error.value.kind == kind
        assert KEY not in str(error.value)


@pytest.mark.parametrize(
    ("hear", "problem"),
    [
        (HearSettings(), "service.hear.api_key: OpenAI needs a key"),
        (HearSettings(url="http://whisper.example/v1"), "service.hear.url: http:// is not encrypted"),
        (HearSettings(url="ws://127.0.0.1"), "service.hear.url: begins with ws://"),
    ],
)
def test_what_cannot_work_is_refused(hear: HearSettings, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(Settings(hear=hear))
    assert error.value.problems[0].startswith(problem)


def test_a_server_at_home_needs_no_key() -> None:
    assert build(Settings(hear=HearSettings(url="http://127.0.0.1:8000/v1"))) is not None
