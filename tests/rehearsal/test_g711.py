"""Sound in telephone quality: what is said in it is understood, and what the agent says is intelligible.

pocketsphinx's model was trained on wide-band speech, and espeak-ng loses much with the upper half of its band. So flite speaks
here, and the agent has the clearest of its voices.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
import pytest

from pipit.core import g711
from pipit.core.pcm import HEARING_RATE_HZ, Resampler
from pipit.offline.recogniser import Recogniser
from pipit.rehearsal import assemblyai_session, openai_session
from pipit.rehearsal.assemblyai_session import defaults, format_of, updated
from pipit.rehearsal.formats import Format
from pipit.rehearsal.server import GRAMMAR
from pipit.rehearsal.shapes import Refused
from pipit.services import Failed, ReplyDone, UserText
from tests import speech
from tests.rehearsal.client import Client
from tests.rehearsal.talk import Talk, misbehaving

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))

LAWS = ("pcmu", "pcma")
REQUEST = "tell me a long story"
PERSON = "flite:slt"
VOICE = "ballad"


def understood(pcm: bytes, rate_hz: int) -> str:
    """Return what the rehearsal's own ear makes of what its mouth has said."""
    samples = np.concatenate((np.frombuffer(pcm, "<i2"), speech.noise(0.4, rate_hz=rate_hz, dbfs=-60)))
    return Recogniser(GRAMMAR).hear(Resampler(rate_hz, HEARING_RATE_HZ).process(samples)).text


@pytest.mark.parametrize("law", LAWS)
async def test_a_conversation_with_assemblyai(law: str) -> None:
    async with misbehaving() as server:
        talk = Talk(server, "assemblyai", encoding=f"audio/{law}", greeting=REQUEST)
        talk.voice = PERSON
        await talk.hold("what time is it", replies=2)
        session = server.sessions[0]
        [sound_format] = {str(event["config"]["output"]["format"]) for event in session.of("session.ready")}
        pieces = [len(base64.b64decode(event["data"])) for event in session.of("reply.audio")]
    assert not talk.of(Failed)
    assert talk.session.input_rate_hz == talk.session.output_rate_hz == 8000
    assert sound_format == str({"sample_rate": 8000, "encoding": f"audio/{law}"})
    assert pieces[0] == 300, "37.5 ms, as recorded"
    assert [event.text for event in talk.of(UserText) if event.final] == ["what time is it"]
    greeting = sum(pieces[: next(place for place, size in enumerate(pieces) if size != 300) + 1])
    assert understood(talk.sound[: 2 * greeting], 8000) == REQUEST
    assert len(talk.of(ReplyDone)) == 2


@pytest.mark.parametrize("law", LAWS)
async def test_a_conversation_with_openai(law: str) -> None:
    question = g711.encode(
        speech.timeline([(0.3, speech.say("what time is it", PERSON, rate_hz=8000))], 3.0, 8000, -55).tobytes(), law
    )
    async with asyncio.timeout(30), misbehaving() as server, Client(server, "openai") as client:
        audio = {
            "input": {"format": {"type": f"audio/{law}"}, "transcription": {"model": "whisper-1"}},
            "output": {"format": {"type": f"audio/{law}"}, "voice": VOICE},
        }
        await client.send("session.update", session={"type": "realtime", "audio": audio})
        assert (await client.until("session.updated"))["session"]["audio"]["output"]["format"] == {"type": f"audio/{law}"}
        for start in range(0, len(question), 400):
            await client.send("input_audio_buffer.append", audio=base64.b64encode(question[start : start + 400]).decode())
        await client.until("conversation.item.input_audio_transcription.completed", transcript="what time is it")
        await client.until("response.done")
        client.events.clear()
        await client.send("response.create", response={"instructions": f"Say: {REQUEST}"})
        response = (await client.until("response.done"))["response"]
        assert response["audio"]["output"]["format"] == {"type": f"audio/{law}"}
    sound = b"".join(base64.b64decode(event["delta"]) for event in client.of("response.output_audio.delta"))
    assert understood(g711.decode(sound, law), 8000) == REQUEST


async def test_the_law_may_change_and_pcm_come_back_with_its_own_rate() -> None:
    async with asyncio.timeout(30), misbehaving() as server, Client(server, "openai") as client:
        for given, shown in [
            ({"type": "audio/pcmu"}, {"type": "audio/pcmu"}),
            ({"type": "audio/pcma"}, {"type": "audio/pcma"}),
            ({"type": "audio/pcm"}, {"type": "audio/pcm", "rate": 24000}),
        ]:
            await client.send("session.update", session={"type": "realtime", "audio": {"input": {"format": given}}})
            assert (await client.until("session.updated"))["session"]["audio"]["input"]["format"] == shown


@pytest.mark.parametrize(
    ("shape", "sound_format", "path"),
    [
        ("assemblyai", {"encoding": "audio/pcmu", "sample_rate": 24000}, "session.input.format.sample_rate"),
        ("assemblyai", {"encoding": "audio/pcm", "sample_rate": 8000}, "session.input.format.sample_rate"),
        ("assemblyai", {"encoding": "audio/opus"}, "session.input.format.encoding"),
        ("assemblyai", {"sample_rate": 8000}, "session.input.format.encoding"),
        ("openai", {"type": "audio/pcmu", "rate": 8000}, "session.audio.input.format.rate"),
        ("openai", {"type": "g711_ulaw"}, "session.audio.input.format.type"),
    ],
)
def test_formats_that_are_refused(shape: str, sound_format: dict[str, Any], path: str) -> None:
    module: Any = {"assemblyai": assemblyai_session, "openai": openai_session}[shape]
    inner = {"input": {"format": sound_format}}
    session = inner if shape == "assemblyai" else {"type": "realtime", "audio": inner}
    with pytest.raises(Refused) as refused:
        module.client_events((24000,))({"type": "session.update", "session": session}, "")
    assert refused.value.path == path


def test_a_format_without_a_rate_has_its_own() -> None:
    config = updated(defaults(24000), {"input": {"format": {"encoding": "audio/pcma"}}}, first=True)
    assert format_of(config, "input") == Format(8000, "pcma")
    assert format_of(config, "output") == Format(24000, "pcm")
    assert config["input"]["format"]["sample_rate"] == 8000


def test_what_is_no_sound_is_none() -> None:
    assert Format(24000).decode("?") is None
    assert Format(24000).decode("AAAA") is None, "three bytes"
    assert Format(8000, "pcmu").decode("AAAA") == g711.decode(bytes(3), "pcmu")
