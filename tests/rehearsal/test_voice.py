from __future__ import annotations

import asyncio

import numpy as np
import pytest

from pipit.core.pcm import dbfs
from pipit.errors import ConfigError
from pipit.offline import espeak
from pipit.rehearsal import skills, voice
from pipit.rehearsal.agent import chunk_bytes, sound
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))


async def spoken(text: str, rate_hz: int = 24000, **options: object) -> bytes:
    return b"".join([pcm async for pcm in espeak.speak(text, rate_hz, **options)])  # type: ignore[arg-type]


@pytest.mark.parametrize("rate_hz", [16000, 22050, 24000, 44100])
async def test_a_sentence_lasts_equally_long_at_every_rate(rate_hz: int) -> None:
    async with asyncio.timeout(20):
        pcm = await spoken("The pipit heard the wheels.", rate_hz)
        reference = await spoken("The pipit heard the wheels.", 24000)
    assert len(pcm) % 2 == 0
    assert len(pcm) / 2 / rate_hz == pytest.approx(len(reference) / 2 / 24000, abs=0.005)
    assert dbfs(np.frombuffer(pcm, "<i2")) > -30


async def test_faster_is_shorter() -> None:
    async with asyncio.timeout(20):
        assert len(await spoken("The pipit heard the wheels.", speed=240)) < 0.8 * len(await spoken("The pipit heard the wheels."))


async def test_text_is_never_taken_for_an_option() -> None:
    async with asyncio.timeout(20):
        assert len(await spoken("--version")) > 24000


async def test_who_stops_listening_leaves_no_process_behind() -> None:
    async with asyncio.timeout(20):
        stream = espeak.speak(" ".join(skills.STORIES[0]), 24000)
        await anext(stream)
        await stream.aclose()
    # A child that is still there, or a pipe left open, would be reported as a warning, which is an error here.


@pytest.mark.parametrize("story", skills.STORIES)
def test_a_story_lasts_at_least_40_s(story: tuple[str, ...]) -> None:
    assert sum(len(espeak.synthesise(sentence, 16000)) for sentence in story) / 16000 > 40


def test_both_ways_of_speaking_give_the_same() -> None:
    whole = espeak.synthesise("Good morning.", 24000)
    assert asyncio.run(spoken("Good morning.")) == whole.tobytes()


def test_a_service_voice_always_sounds_the_same_and_marin_not_like_cedar() -> None:
    assert voice.variant("marin") == voice.variant("marin")
    assert voice.variant("marin") != voice.variant("cedar")


@pytest.mark.parametrize(("odd", "sizes"), [(False, {480}), (True, {479, 481})])
async def test_pieces_have_the_size_that_was_asked_for(odd: bool, sizes: set[int]) -> None:
    async with asyncio.timeout(20):
        pieces = [piece async for piece in sound("Good morning.", chunk_bytes(0.01, 24000, odd=odd), 24000, "marin")]
        plain = [piece async for piece in sound("Good morning.", chunk_bytes(0.01, 24000), 24000, "marin")]
    assert set(map(len, pieces[:-1])) == sizes
    assert b"".join(pieces) == b"".join(plain)


async def test_volume_scales_the_sound() -> None:
    async with asyncio.timeout(20):
        loud = b"".join([piece async for piece in sound("Good morning.", (480,), 24000, "marin")])
        soft = b"".join([piece async for piece in sound("Good morning.", (480,), 24000, "marin", volume=10.0)])
    assert dbfs(np.frombuffer(loud, "<i2")) - dbfs(np.frombuffer(soft, "<i2")) == pytest.approx(20, abs=0.5)


def test_without_espeak_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="apt install espeak-ng"):
        espeak.check()
