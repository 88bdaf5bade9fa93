"""Wyoming servers made with the protocol's own package, which must find Pipit to be their client."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.error import Error
from wyoming.event import Event
from wyoming.server import AsyncEventHandler, AsyncTcpServer
from wyoming.tts import Synthesize

from pipit.errors import ConfigError
from pipit.offline.espeak import synthesise
from pipit.offline.recogniser import Recogniser
from pipit.services.cascade import Sound, StageError, wyoming_hear, wyoming_speak
from pipit.services.cascade.settings import HearSettings, Settings, SpeakSettings
from pipit.services.cascade.sphinx_hear import GRAMMAR
from tests import speech

pytestmark = pytest.mark.skipif(speech.missing_tools() is not None, reason=str(speech.missing_tools()))


def sounding(rate_hz: int, channels: int = 1) -> dict[str, int]:
    # As in the package's own `wyoming.audio`, which needs a module that Python 3.13 has no more.
    return {"rate": rate_hz, "width": 2, "channels": channels}


class Server(AsyncEventHandler):
    """Hears with pocketsphinx and speaks with espeak-ng, as a server at home would with better ones."""

    rate_hz = 16000
    got: tuple[Event, ...] = ()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.pcm = b""

    async def handle_event(self, event: Event) -> bool:
        type(self).got += (event,)
        if event.type == "audio-chunk":
            assert event.data == sounding(16000)
            self.pcm += event.payload or b""
        elif event.type == "audio-stop":
            heard = Recogniser(GRAMMAR).hear(np.frombuffer(self.pcm, "<i2"))
            await self.write_event(Event("something-new", {"x": 1}))
            await self.write_event(Transcript(heard.text).event())
            return False
        elif Synthesize.is_type(event.type):
            pcm = synthesise(Synthesize.from_event(event).text, self.rate_hz).tobytes()
            await self.write_event(Event("audio-start", sounding(self.rate_hz)))
            for start in range(0, len(pcm), 4000):
                await self.write_event(Event("audio-chunk", sounding(self.rate_hz), pcm[start : start + 4000]))
            await self.write_event(Event("audio-stop"))
        return True


class Failing(Server):
    async def handle_event(self, event: Event) -> bool:
        await self.write_event(Error("no voice is installed").event())
        return False


class Babbling(Server):
    async def handle_event(self, event: Event) -> bool:
        await self.write_event(Event("error", {"text": 5}))
        return False


@contextlib.asynccontextmanager
async def served(handler: type[Server]) -> AsyncIterator[str]:
    kind = type("Serving", (handler,), {"got": ()})
    served.handler = kind  # type: ignore[attr-defined]
    server = AsyncTcpServer("127.0.0.1", 0)
    async with asyncio.timeout(20):
        await server.start(kind)
        listening: Any = server._server
        yield f"tcp://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        await server.stop()


def hearing(url: str | None, **options: Any) -> Any:
    return wyoming_hear.build(Settings(hear=HearSettings(url=url, **options), connect_s=1))


def speaking(url: str | None, **options: Any) -> Any:
    return wyoming_speak.build(Settings(speak=SpeakSettings(url=url), connect_s=1, **options))


async def said(*sentences: str) -> AsyncIterator[str]:
    for sentence in sentences:
        yield sentence


async def test_an_utterance_is_transcribed() -> None:
    async with served(Server) as url:
        stage = hearing(url, language="en", model="base")
        await stage.open()
        clip = speech.say("what time is it")
        assert await stage.hear(speech.timeline([(0.3, clip)], 1.0 + len(clip) / 16000)) == "what time is it"
        asked = Transcribe.from_event(served.handler.got[0])  # type: ignore[attr-defined]
        assert (asked.name, asked.language) == ("base", "en")


async def test_sentences_are_spoken_at_our_rate_and_their_ends_are_known() -> None:
    async with served(Server) as url:
        stage = speaking(url, voice="lessac")
        sounds: list[Sound] = [sound async for sound in stage.speak(said("Good morning.", " How are you?"))]
        reference = synthesise("Good morning.", 22050)
        ends = [place for place, sound in enumerate(sounds) if sound.spoken is not None]
        assert [sounds[place].spoken for place in ends] == [13, 26]
        first = sum(len(sound.pcm) for sound in sounds[: ends[0]]) / 2
        assert first == pytest.approx(len(reference), abs=50)
        asked = Synthesize.from_event(served.handler.got[0])  # type: ignore[attr-defined]
        assert (asked.text, asked.voice and asked.voice.name) == ("Good morning.", "lessac")


async def test_who_stops_listening_closes_the_connection() -> None:
    async with served(Server) as url:
        sounds = speaking(url).speak(said("A long sentence that nobody hears to its end."))
        await anext(sounds)
        await sounds.aclose()


async def test_the_servers_failure_is_told() -> None:
    async with served(Failing) as url:
        with pytest.raises(StageError, match=r"127\.0\.0\.1 failed \(no voice is installed\)"):
            async for _ in speaking(url).speak(said("Good morning.")):
                pass
        with pytest.raises(StageError, match="failed"):
            await hearing(url).hear(np.zeros(16000, np.int16))


async def test_a_failure_that_makes_no_sense_is_a_failure_of_the_server() -> None:
    async with served(Babbling) as url:
        with pytest.raises(StageError, match="no Wyoming event"):
            await hearing(url).hear(np.zeros(16000, np.int16))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\n", "no Wyoming event"),
        (b'{"type": "transcript", "data_length": 100000000}\n', "no Wyoming event"),
        (b'{"type": "transcript", "data_length": "x"}\n', "no Wyoming event"),
        (b'{"type": "transcript", "data": {"text": 5}}\n', "holds no text"),
        (b'{"type": "audio-chunk", "payload_length": 10}\n12345', "closed the connection"),
        (b"x" * 200000, "no Wyoming event"),
        (json.dumps({"type": "audio-start", "data": {"rate": 48000, "channels": 2}}).encode() + b"\n", "closed the connection"),
    ],
)
async def test_rubbish_is_told(answer: bytes, words: str) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        with contextlib.suppress(OSError):
            await writer.drain()
            writer.write_eof()
            await reader.read()
        writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with asyncio.timeout(10), listening:
        url = f"tcp://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        with pytest.raises(StageError, match=words):
            await hearing(url).hear(np.zeros(160, np.int16))


async def test_sound_that_pipit_does_not_take_is_refused() -> None:
    class Stereo(Server):
        async def handle_event(self, event: Event) -> bool:
            await self.write_event(Event("audio-start", sounding(48000, 2)))
            return True

    async with served(Stereo) as url:
        with pytest.raises(StageError, match="48000 Hz, 16 bits and 2 channels") as error:
            await anext(speaking(url).speak(said("Hello.")))
        assert error.value.kind == "config"


async def test_nobody_is_there() -> None:
    with pytest.raises(StageError, match="cannot be reached") as error:
        await hearing("tcp://127.0.0.1:9").open()
    assert error.value.kind == "retryable"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (None, "service.hear.url: Wyoming servers have no address of their own; for example tcp://127.0.0.1:10300"),
        ("http://127.0.0.1:1", "service.hear.url: begins with http://, must be tcp://"),
        ("tcp://127.0.0.1", "service.hear.url: the port is missing; for example tcp://127.0.0.1:10300"),
        (
            "tcp://hub:10300",
            "service.hear.url: tcp:// is not encrypted on the way to hub; if that is at home, say service.insecure",
        ),
    ],
)
def test_addresses_that_cannot_work(url: str | None, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        hearing(url)
    assert error.value.problems[0].startswith(problem)


def test_a_pace_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"service\.speak\.speed"):
        wyoming_speak.build(Settings(speak=SpeakSettings(url="tcp://127.0.0.1:1", speed=1.5)))
